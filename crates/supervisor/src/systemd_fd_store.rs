//! What is kept for others, in the service manager's store, too: it outlives this process there.

use std::{collections::BTreeMap, os::fd::AsFd as _};

use framebridge_daemon::descriptors;
use framebridge_ipc::{BackingStore, StoredFd};
use framebridge_proto::Role;

/// Stands between a role and the name its owner gave.
const BETWEEN: char = '/';

/// The service manager that started us, if one did.
#[derive(Debug)]
pub(crate) struct SystemdFdStore;

impl BackingStore for SystemdFdStore {
    fn load(&self) -> BTreeMap<Role, Vec<StoredFd>> {
        let mut found: BTreeMap<Role, Vec<StoredFd>> = BTreeMap::new();
        for (stored, fd) in descriptors::take_stored() {
            match parse(&stored) {
                Some((role, name)) => found.entry(role).or_default().push(StoredFd { name, fd }),
                None => tracing::warn!(name = stored, "the service manager kept something that is not ours"),
            }
        }
        found
    }

    fn replace(&self, role: Role, before: &[StoredFd], after: &[StoredFd]) {
        for stored in before {
            descriptors::discard(&stored_name(role, &stored.name));
        }
        for stored in after {
            descriptors::store(&stored_name(role, &stored.name), stored.fd.as_fd());
        }
    }
}

/// The store's name for what a role calls `name`. It takes no colons, which IPv6 addresses are full of; no owner's name
/// has an underscore.
fn stored_name(role: Role, name: &str) -> String {
    format!("{role}{BETWEEN}{}", name.replace(':', "_"))
}

/// Whose a stored descriptor is, and what its owner calls it.
fn parse(stored: &str) -> Option<(Role, String)> {
    let (role, name) = stored.split_once(BETWEEN)?;
    let role = (0..=u8::MAX)
        .filter_map(Role::from_wire)
        .find(|known| known.as_str() == role)?;
    Some((role, name.replace('_', ":")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_as_they_went() {
        for name in ["http", "udp-0-::", "udp-1-fe80::1", "viewers-0"] {
            let stored = stored_name(Role::Signaling, name);
            assert!(!stored.contains(':'));
            assert_eq!(parse(&stored), Some((Role::Signaling, name.to_owned())));
        }
        assert_eq!(parse("stored"), None, "what systemd calls a descriptor without a name");
        assert_eq!(parse("nobody/http"), None);
    }
}
