//! Addresses of this machine that go, and the viewers that are served from them.

use std::{
    collections::HashMap,
    io::ErrorKind,
    net::{IpAddr, UdpSocket},
    sync::Arc,
    time::Instant,
};

use super::Worker;
use crate::{
    Input,
    ice::Path,
    outlet::is_tcp,
    viewer::{Slot, Standing},
};

impl Worker {
    /// Has every viewer whose way here is gone found another, from our side: nobody else knows our new address, and where HTTP came
    /// in on the old one nobody can ask for it.
    pub(super) fn move_off(&mut self, present: &[IpAddr], now: Instant) {
        let mut known = HashMap::new();
        let mut is_gone = |ip: IpAddr| {
            *known
                .entry(ip)
                .or_insert_with(|| !present.contains(&ip) && is_foreign(ip))
        };
        for slot in self.viewers.slots() {
            let path = self.viewers.get_mut(slot).and_then(|viewer| viewer.peer.path());
            if path.and_then(|path| self.origin(&path)).is_some_and(&mut is_gone) {
                self.note(slot, true);
                self.handle(slot, Input::Moved, now);
            }
        }
    }

    /// A viewer is reached from another address. Until it has followed, what it asks for goes to the old one: it begins anew at a
    /// keyframe, as who has just come does.
    pub(super) fn on_moved(&mut self, slot: Slot, now: Instant) {
        self.note(slot, false);
        let Some(viewer) = self.viewers.get_mut(slot).filter(|viewer| viewer.watches()) else {
            return;
        };
        viewer.standing = Standing::Waiting;
        viewer.report = now;
        let (stream, rung) = (Arc::clone(&viewer.stream), viewer.footing.in_use());
        let channel = self.channel(&stream, rung);
        channel.wants_keyframe |= channel.lacks_entry(now);
        channel.is_dirty = true;
        self.keep(slot);
    }

    /// Shows whether a viewer is out of reach.
    fn note(&mut self, slot: Slot, is_lost: bool) {
        if let Some(viewer) = self.viewers.get_mut(slot)
            && let Some(entry) = self.shared.sessions().get_mut(&viewer.session)
        {
            entry.is_lost = is_lost;
        }
    }

    /// The address that a path begins at, if it may go. One by TCP ends with its connection, and the viewer connects anew.
    fn origin(&self, path: &Path) -> Option<IpAddr> {
        if is_tcp(path) {
            return None;
        }
        let bound = self.sockets.get(path.socket).map(|socket| socket.local().ip());
        let from = path.source.or(bound.filter(|ip| !ip.is_unspecified()));
        from.filter(|ip| !ip.is_loopback())
    }
}

/// Whether an address that no interface has is none of this machine's: a route may make it one (a load balancer's, for example).
fn is_foreign(ip: IpAddr) -> bool {
    UdpSocket::bind((ip, 0)).is_err_and(|error| error.kind() == ErrorKind::AddrNotAvailable)
}
