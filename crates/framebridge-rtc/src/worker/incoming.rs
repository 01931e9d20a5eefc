//! What comes from the net: whose it is, and what other workers are told.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Instant,
};

use super::Worker;
use crate::{
    Input,
    batch::Inbox,
    ice::Path,
    mailbox::Forwarded,
    outlet::is_tcp,
    socket::Socket,
    stun::{is_stun, peek_ufrag},
    worker_number::worker_of,
};

/// Rounds of reading one socket before the other duties get their turn.
const READ_ROUNDS: usize = 8;
/// Datagrams from other workers taken before the other duties get their turn.
const FORWARDED_PER_TURN: usize = 64;
/// Addresses remembered of other workers' viewers. Full: forgotten, and learned again from the next check.
const MAX_ELSEWHERE: usize = 4096;

impl Worker {
    /// Asks each server from each socket of its family. What comes back may come to any worker.
    pub(super) fn ask_outside(&mut self, servers: &[SocketAddr], now: Instant) {
        for server in servers {
            let is_of_family = |socket: &Socket| socket.local().is_ipv4() == server.is_ipv4();
            for (number, _) in self
                .sockets
                .iter()
                .enumerate()
                .filter(|(_, socket)| is_of_family(socket))
            {
                let path = Path {
                    socket: number,
                    source: None,
                    remote: *server,
                };
                let question = self.shared.ask_outside(*server, now);
                self.batch.push_probe(&path, &question);
            }
        }
    }

    pub(super) fn read(&mut self, now: Instant) {
        let sockets = Arc::clone(&self.sockets);
        let mut inbox = std::mem::replace(&mut self.inbox, Inbox::empty());
        let mut readable = std::mem::take(&mut self.readable);
        let mut is_all = !readable.is_empty();
        for number in readable.drain(..) {
            let socket = &sockets[number];
            let mut rounds = 0..READ_ROUNDS;
            let mut may_have_more = true;
            while may_have_more && rounds.next().is_some() {
                may_have_more = inbox.receive(socket);
                for (datagram, remote, destination) in inbox.datagrams() {
                    let source: Option<IpAddr> = destination.filter(|_| socket.is_wildcard());
                    self.on_datagram(
                        Path {
                            socket: number,
                            source,
                            remote,
                        },
                        datagram,
                        None,
                        now,
                    );
                }
            }
            is_all &= !may_have_more;
        }
        if is_all {
            self.reading.on_read(now);
        }
        self.inbox = inbox;
        self.readable = readable;
    }

    pub(super) fn take_forwarded(&mut self, now: Instant) {
        for _ in 0..FORWARDED_PER_TURN {
            let Ok(forwarded) = self.inlet.forwarded.try_recv() else {
                return;
            };
            match forwarded {
                Forwarded::Datagram {
                    from,
                    path,
                    mut datagram,
                } => self.on_datagram(path, &mut datagram, Some(from), now),
                Forwarded::ByTcp { path, mut datagram } => self.on_datagram(path, &mut datagram, None, now),
                Forwarded::Owned { remote, owner } => {
                    if self.elsewhere.len() == MAX_ELSEWHERE {
                        self.elsewhere.clear();
                    }
                    self.elsewhere.insert(remote, owner);
                }
            }
        }
        self.shared.mailboxes[self.number].ring();
    }

    /// Finds whose datagram it is: a check by the ufrag it names, anything else by its connection, or by where it comes from. `from`: it came to that
    /// other worker.
    fn on_datagram(&mut self, path: Path, datagram: &mut [u8], from: Option<usize>, now: Instant) {
        let ufrag = peek_ufrag(datagram);
        let slot = match ufrag {
            Some(ufrag) => self.viewers.by_ufrag(ufrag),
            None if is_tcp(&path) => {
                let session = self.batch.outlets.session_of(path.socket);
                session.and_then(|session| self.viewers.by_session(&session))
            }
            None => self.viewers.by_address(&path.remote),
        };
        if let Some(slot) = slot {
            // A check by its name; to a receiver that is connected to, and need not check back, an answer says as much.
            let is_proof = ufrag.is_some() || (is_tcp(&path) && is_stun(datagram));
            self.handle(slot, Input::Datagram(path, datagram), now);
            let reached = self
                .viewers
                .get_mut(slot)
                .filter(|viewer| viewer.peer.is_reached_over(&path));
            if let Some(session) = reached.map(|viewer| viewer.session).filter(|_| is_proof) {
                self.batch.outlets.prove(&path, session);
                if !is_tcp(&path) {
                    self.viewers.add_address(slot, path.remote, true);
                }
                if let Some(from) = from {
                    let (remote, owner) = (path.remote, self.number);
                    self.shared.mailboxes[from].forward(Forwarded::Owned { remote, owner });
                }
            }
            return;
        }
        // Of all that strangers send only STUN that is no check gets here, and a lock.
        if ufrag.is_none() && is_stun(datagram) && self.shared.hears_from_outside(datagram, path.remote, now) {
            return;
        }
        // A connection is its viewer's and comes to its worker.
        if from.is_some() || is_tcp(&path) {
            return;
        }
        let mailboxes = &self.shared.mailboxes;
        let owner = match ufrag {
            Some(ufrag) => worker_of(ufrag).filter(|owner| *owner < mailboxes.len()),
            None => self.elsewhere.get(&path.remote).copied(),
        };
        if let Some(owner) = owner.filter(|owner| *owner != self.number) {
            mailboxes[owner].forward(Forwarded::Datagram {
                from: self.number,
                path,
                datagram: datagram.to_vec(),
            });
        }
    }
}
