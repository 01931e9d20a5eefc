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

/// Where systemd has the groups of encoders' units.
const ENCODERS: &str = "/sys/fs/cgroup/system.slice/system-framebridge\\x2dencoder.slice";

/// That of the process `name` that is `pid`, while it lives.
pub(super) fn of(pid: u32, name: &str) -> Option<Usage> {
    let read = |file| fs::read_to_string(format!("/proc/{pid}/{file}")).ok();
    let in_proc = read("stat")
        .zip(read("status"))
        .and_then(|(stat, status)| parse(&stat, &status));
    in_proc.or_else(|| of_unit(name.strip_prefix("encoder-")?))
}

/// That of an encoder's unit, whose process is another user's and hidden from us.
fn of_unit(stream: &str) -> Option<Usage> {
    let read = |file| fs::read_to_string(format!("{ENCODERS}/framebridge-encoder@{stream}.service/{file}")).ok();
    parse_group(&read("cpu.stat")?, &read("memory.stat")?)
}

/// As cgroup v2 has it.
fn parse_group(cpu: &str, memory: &str) -> Option<Usage> {
    let value = |text: &str, name: &str| {
        let mut fields = text.lines().filter_map(|line| line.split_once(' '));
        fields.find(|(field, _)| *field == name)?.1.parse::<u64>().ok()
    };
    Some(Usage {
        cpu_seconds: Duration::from_micros(value(cpu, "usage_usec")?).as_secs_f64(),
        resident_bytes: value(memory, "anon")?.saturating_add(value(memory, "file_mapped").unwrap_or(0)),
    })
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
        assert!(of(std::process::id(), "x").is_some_and(|own| own.resident_bytes > 0));
        assert_eq!(parse("7 (x", ""), None);
    }

    #[test]
    fn unit_whose_process_is_hidden_is_read_by_its_group() {
        let usage = parse_group(
            "usage_usec 2500000\nuser_usec 1\n",
            "anon 4096\nfile 9\nfile_mapped 8192\n",
        );
        let usage = usage.expect("a group");
        assert!((usage.cpu_seconds - 2.5).abs() < 1e-9);
        assert_eq!(usage.resident_bytes, 12_288);
        assert_eq!(of(0, "bridge"), None);
        assert_eq!(of(0, "encoder-that-is-not-there"), None);
    }
}
