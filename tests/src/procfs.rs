//! What the kernel tells about a process.

use std::time::Duration;

/// Parts of a second in which the kernel counts processor time for user space; the same on every machine
/// that Linux serves.
const TICKS_PER_SECOND: u64 = 100;

/// The state letter of a process: `R`, `S`, `T` for frozen, `Z` for ended.
pub fn state(pid: u32) -> Option<char> {
    stat_after_name(pid)?.chars().next()
}

/// The processor time that a process has used, all its threads together.
pub fn cpu_time(pid: u32) -> Option<Duration> {
    let stat = stat_after_name(pid)?;
    // proc(5): the state is field 3, user and system time are 14 and 15.
    let ticks: u64 = stat.split(' ').skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Some(Duration::from_millis(ticks * 1_000 / TICKS_PER_SECOND))
}

/// The processes that a process has started and that have not been reaped.
pub fn children(pid: u32) -> Vec<u32> {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    threads
        .filter_map(Result::ok)
        .filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok())
        .flat_map(|line| line.split(' ').filter_map(|pid| pid.parse().ok()).collect::<Vec<u32>>())
        .collect()
}

/// How many files and sockets a process has open.
pub fn open_files(pid: u32) -> Option<usize> {
    Some(std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count())
}

/// The memory that a process has in use, in bytes.
pub fn rss_bytes(pid: u32) -> Option<u64> {
    kibibytes(pid, "VmRSS:")
}

/// The most memory that a process ever had in use, in bytes.
pub fn peak_rss_bytes(pid: u32) -> Option<u64> {
    kibibytes(pid, "VmHWM:")
}

fn kibibytes(pid: u32, field: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    let number: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(number * 1_024)
}

/// What follows the name, which may hold spaces and brackets of its own.
fn stat_after_name(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(stat.rsplit_once(") ")?.1.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_seen() {
        let own = std::process::id();
        assert!(matches!(state(own), Some('R' | 'S')));
        assert!(rss_bytes(own).unwrap() > 100 << 10);
        // Not compared with each other: the kernel keeps these two figures with some delay.
        assert!(peak_rss_bytes(own).unwrap() > 100 << 10);
        assert!(cpu_time(own).is_some());
        assert_eq!(rss_bytes(0), None);
    }
}
