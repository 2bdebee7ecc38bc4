//! What the worker tells people about the machine.

use ganger_common::limits::NAME_BYTES_MAX;

/// The name of the host; `unknown` when the system does not say.
pub(crate) fn name() -> String {
    let mut buffer = [0_u8; 256];
    // SAFETY: the call writes at most the given length into the buffer, which outlives it.
    #[allow(unsafe_code)] // The standard library has no face for the host name.
    let result = unsafe { libc::gethostname(buffer.as_mut_ptr().cast(), buffer.len() - 1) };
    let end = buffer.iter().position(|byte| *byte == 0).unwrap_or(0);
    let name = String::from_utf8_lossy(&buffer[..end.min(NAME_BYTES_MAX / 3)]).into_owned();
    match result == 0 && !name.is_empty() {
        true => name,
        false => "unknown".to_owned(),
    }
}

/// One slot for each processor.
pub(crate) fn processors() -> u32 {
    std::thread::available_parallelism().map_or(1, |count| count.get() as u32)
}
