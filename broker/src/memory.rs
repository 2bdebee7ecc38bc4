//! What the allocator does with large blocks.

/// Blocks of this size and more come from the system one by one, and go back to it when they are freed. Messages
/// of small tasks are below it.
#[cfg(target_env = "gnu")]
const LARGE_BLOCK: libc::c_int = 256 << 10;

/// As much free memory at the end of each heap is kept for what comes next. Setting the limit above fixes this one,
/// too, at 128 KiB unless it is said: then the heap ends and grows anew with every few batches, which cost a tenth
/// of the throughput.
#[cfg(target_env = "gnu")]
const KEPT: libc::c_int = 4 << 20;

/// Lets the memory of large values go when they do. Call it before the process has threads.
///
/// By itself glibc raises this limit to the largest block that was ever freed, and from then on keeps such blocks
/// in arenas, one for each few threads. A value comes on the thread of the sockets and is let go on that of the
/// journal, so each arena keeps room for all of it: a broker full of values of 1 MiB was at 161 MiB where 89 are
/// alive at the most. Other allocators are left as they are.
pub fn give_large_blocks_back() {
    #[cfg(target_env = "gnu")]
    #[allow(unsafe_code)] // The standard library does not know which allocator there is.
    // SAFETY: settings of the allocator; they take no pointer, and what it does not know it refuses.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE_BLOCK);
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT);
    }
}
