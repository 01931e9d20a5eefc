//! The box's identity, which outlives its processes.

use std::fs;

use framebridge_ipc::RuntimeDir;
use framebridge_studio_proto::BoxId;
use ring::digest::{Context, SHA256};

/// What tells this machine from others: systemd's id, else its name.
const SOURCES: [&str; 3] = [
    "/etc/machine-id",
    "/var/lib/dbus/machine-id",
    "/proc/sys/kernel/hostname",
];

/// This machine's Framebridge with this runtime directory. Needs no file of its own, and tells nobody the machine's id.
pub(crate) fn box_id(dir: &RuntimeDir) -> BoxId {
    let machine = SOURCES
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .map(|text| text.trim().to_owned())
        .find(|text| !text.is_empty());
    derive(machine.as_deref().unwrap_or_default(), dir)
}

fn derive(machine: &str, dir: &RuntimeDir) -> BoxId {
    let mut context = Context::new(&SHA256);
    for part in ["framebridge box", machine, &dir.path().to_string_lossy()] {
        context.update(part.as_bytes());
        context.update(&[0]);
    }
    let digest = context.finish();
    let bits = digest
        .as_ref()
        .iter()
        .take(16)
        .fold(0, |bits, byte| bits << 8 | u128::from(*byte));
    BoxId::from_bits(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_machine_and_directory_is_the_same_box_and_nothing_else_is() {
        let id = |machine, dir: &str| derive(machine, &RuntimeDir::at(dir));
        assert_eq!(id("m", "/run/a"), id("m", "/run/a"));
        assert_ne!(id("m", "/run/a"), id("m", "/run/b"));
        assert_ne!(id("m", "/run/a"), id("n", "/run/a"));
    }
}
