//! What the kernel tells about the processes that take part.

use std::fs;

/// Ticks a second in `/proc`: a constant of the interface, whatever the kernel itself counts in.
const TICKS: f64 = 100.0;

/// Seconds of processor time that processes have taken so far. `None` where there is no `/proc`.
pub(super) fn cpu_seconds(pids: &[u32]) -> Option<f64> {
    pids.iter().map(|pid| cpu_of(*pid)).sum()
}

fn cpu_of(pid: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in brackets and may hold anything; after it come the state and ten other fields.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut ticks = fields.split_whitespace().skip(11).map(str::parse::<f64>);
    Some((ticks.next()?.ok()? + ticks.next()?.ok()?) / TICKS)
}

/// Bytes of memory that a process has in use.
pub(super) fn memory(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn a_process_knows_what_it_takes() {
        let own = std::process::id();
        assert!(cpu_seconds(&[own]).is_some_and(|seconds| seconds >= 0.0));
        assert!(memory(own).is_some_and(|bytes| bytes > 1 << 20));
        assert_eq!(cpu_seconds(&[u32::MAX]), None);
    }
}
