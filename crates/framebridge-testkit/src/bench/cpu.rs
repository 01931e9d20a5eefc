//! What a process has used: CPU time and memory, from /proc.

use std::{fs, io, time::Duration};

use rustix::time::{ClockId, clock_gettime};

/// CPU time of all threads of `pid` that live, to the nanosecond.
///
/// # Errors
/// There is no such process.
pub(super) fn of_process(pid: u32) -> io::Result<Duration> {
    let mut total = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        // The first number is time on the CPU; a thread may have ended since it was listed.
        let Ok(schedule) = fs::read_to_string(thread?.path().join("schedstat")) else {
            continue;
        };
        total += schedule
            .split(' ')
            .next()
            .and_then(|number| number.parse::<u64>().ok())
            .unwrap_or(0);
    }
    Ok(Duration::from_nanos(total))
}

/// CPU time of the calling thread.
pub(super) fn of_thread() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Resident memory of `pid`, bytes.
///
/// # Errors
/// There is no such process.
pub(super) fn resident(pid: u32) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap_or_default();
    let kilobytes: u64 = line.trim().trim_end_matches("kB").trim().parse().unwrap_or(0);
    Ok(kilobytes * 1024)
}
