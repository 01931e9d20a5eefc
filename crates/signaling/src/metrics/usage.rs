//! What a process takes of the machine, as the kernel counts it: proc_pid_stat(5), proc_pid_status(5).

use std::{fs, time::Duration};

/// What `/proc` counts time in: USER_HZ is 100 on every Linux.
const TICK: Duration = Duration::from_millis(10);

/// Of one process.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Usage {
    /// Time on a processor so far, in seconds.
    pub(super) cpu_seconds: f64,
    /// Memory that it has in RAM, in bytes.
    pub(super) resident_bytes: u64,
}

/// That of the process that is `pid`, while it lives.
pub(super) fn of(pid: u32) -> Option<Usage> {
    let read = |file| fs::read_to_string(format!("/proc/{pid}/{file}")).ok();
    parse(&read("stat")?, &read("status")?)
}

fn parse(stat: &str, status: &str) -> Option<Usage> {
    // The name in parentheses may itself hold any character, so what follows its last one counts.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |field: usize| fields.get(field)?.parse::<u64>().ok();
    let ticks = u32::try_from(ticks(11)?.saturating_add(ticks(12)?)).unwrap_or(u32::MAX);
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = resident.split_whitespace().next()?.parse().ok()?;
    Some(Usage {
        cpu_seconds: f64::from(ticks) * TICK.as_secs_f64(),
        resident_bytes: kib.saturating_mul(1024),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_and_memory_are_read_behind_whatever_name_the_process_has() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 0 0 0 250 150 0 0 20 0 3 0 100 1000000 12";
        let usage = parse(stat, "Name:\ta) b\nVmRSS:\t      12 kB\n").expect("a process");
        assert!((usage.cpu_seconds - 4.0).abs() < 1e-9);
        assert_eq!(usage.resident_bytes, 12 * 1024);
        assert!(of(std::process::id()).is_some_and(|own| own.resident_bytes > 0));
        assert_eq!(parse("7 (x", ""), None);
    }
}
