//! A worker's viewers and how their packets find them.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use framebridge_core::rung::RungChoice;
use framebridge_proto::media::Rung;

use crate::{
    HoldReason, Peer, SessionId,
    congestion::Congestion,
    footing::Footing,
    handover::reservation::Reservation,
    lines::LineOutlet,
    link::LinkWatch,
    outlet::Backlog,
    publishers::PublisherOutlet,
    rate::RateControl,
    repeats::{Repeats, Wishes},
    stream::Stream,
};

/// How long a congested viewer gets nothing, so that its link's queue drains, before it starts at a keyframe.
pub(crate) const HOLD: Duration = Duration::from_secs(1);
/// The time between sender reports.
pub(crate) const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// Addresses that lead to one viewer: its candidates, and where its checks came from. One more: the first is forgotten,
/// and known again from the next check that comes from it.
const MAX_ADDRESSES: usize = 32;

/// Where a viewer stands in its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It starts at the next keyframe.
    Waiting,
    /// The next packet it gets.
    At(u64),
    /// Its link is congested: nothing until then, then the next keyframe.
    Held(Instant),
}

/// One viewer: its connection, its stream, and where it stands in it.
pub(crate) struct Viewer {
    pub(crate) session: SessionId,
    pub(crate) stream: Arc<Stream>,
    pub(crate) peer: Peer,
    pub(crate) standing: Standing,
    /// When the next sender report is due.
    pub(crate) report: Instant,
    /// Its place in the viewer file, once it is live.
    pub(crate) reservation: Option<Reservation>,
    /// What its peer answered to when last asked.
    ufrags: Vec<String>,
    /// Addresses whose packets are this viewer's.
    addresses: Vec<SocketAddr>,
    pub(crate) congestion: Congestion,
    pub(crate) repeats: Repeats,
    pub(crate) wishes: Wishes,
    pub(crate) link: LinkWatch,
    pub(crate) backlog: Backlog,
    pub(crate) rate: RateControl,
    /// Why it was held last.
    pub(crate) hold: HoldReason,
    /// Which rung it is given, and which it is to be given.
    pub(crate) footing: Footing,
    pub(crate) choice: RungChoice,
    /// It wants no better rung.
    pub(crate) best: Rung,
    /// When it was last aimed at another rung.
    pub(crate) aimed: Instant,
    /// It was sent a part of a picture, whose rest has to come before another rung.
    pub(crate) is_in_frame: bool,
    /// An operator has named it as a receiver: what it says of itself is more than a claim.
    pub(crate) was_named: bool,
    /// It has data channels and no media, and what comes goes there.
    pub(crate) line: Option<LineOutlet>,
    /// It sends us media and is sent none, and what comes goes there.
    pub(crate) publisher: Option<PublisherOutlet>,
}

impl Viewer {
    /// A viewer that has not begun, and begins with this rung; it wants no better one.
    pub(crate) fn new(session: SessionId, stream: Arc<Stream>, peer: Peer, rung: Rung, now: Instant) -> Self {
        let footing = Footing::new(&stream, rung);
        Self {
            session,
            stream,
            peer,
            standing: Standing::Waiting,
            report: now,
            reservation: None,
            ufrags: Vec::new(),
            addresses: Vec::new(),
            congestion: Congestion::default(),
            repeats: Repeats::new(now),
            wishes: Wishes::new(now),
            link: LinkWatch::default(),
            backlog: Backlog::default(),
            rate: RateControl::new(now),
            hold: HoldReason::Loss,
            footing,
            choice: RungChoice::new(rung),
            best: rung,
            aimed: now,
            is_in_frame: false,
            was_named: false,
            line: None,
            publisher: None,
        }
    }

    /// Whether it is sent media: neither a line nor a publisher is.
    #[inline]
    pub(crate) fn watches(&self) -> bool {
        self.line.is_none() && self.publisher.is_none()
    }

    /// The channel that it is given.
    #[inline]
    pub(crate) fn channel(&self) -> usize {
        self.stream.channel(self.footing.in_use())
    }

    /// When this viewer next needs its timers looked at.
    fn due(&self) -> Instant {
        let peer = self.peer.poll_timeout();
        // Who is sent nothing is told nothing of it.
        if self.watches() { peer.min(self.report) } else { peer }
    }
}

/// Names a viewer inside its worker.
pub(crate) type Slot = usize;

/// A worker's viewers by everything they are looked up by.
#[derive(Default)]
pub(crate) struct Viewers {
    slots: Vec<Option<Box<Viewer>>>,
    /// When each slot's timers are due; apart, so that looking through all of them touches little memory.
    due: Vec<Option<Instant>>,
    free: Vec<Slot>,
    sessions: HashMap<SessionId, Slot>,
    ufrags: HashMap<String, Slot>,
    addresses: HashMap<SocketAddr, Slot>,
    /// How many of them send what may not wait: acts, or pictures.
    senders: usize,
}

impl Viewers {
    /// Takes a viewer in.
    pub(crate) fn insert(&mut self, viewer: Box<Viewer>) -> Slot {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.due.push(None);
            self.slots.len() - 1
        });
        self.sessions.insert(viewer.session, slot);
        self.due[slot] = Some(viewer.due());
        self.senders += usize::from(!viewer.watches());
        self.slots[slot] = Some(viewer);
        self.refresh_ufrags(slot);
        slot
    }

    /// Takes a viewer out, with all that leads to it.
    pub(crate) fn remove(&mut self, slot: Slot) -> Option<Box<Viewer>> {
        let viewer = self.slots.get_mut(slot)?.take()?;
        self.due[slot] = None;
        self.senders -= usize::from(!viewer.watches());
        self.free.push(slot);
        self.sessions.remove(&viewer.session);
        for ufrag in &viewer.ufrags {
            self.ufrags.remove(ufrag);
        }
        for address in &viewer.addresses {
            self.forget_address(slot, address);
        }
        Some(viewer)
    }

    /// Whether any of them sends what may not wait.
    pub(crate) fn has_senders(&self) -> bool {
        self.senders > 0
    }

    /// The viewer in a slot.
    #[inline]
    pub(crate) fn get_mut(&mut self, slot: Slot) -> Option<&mut Viewer> {
        self.slots.get_mut(slot)?.as_deref_mut()
    }

    /// Finds a viewer by its session.
    pub(crate) fn by_session(&self, session: &SessionId) -> Option<Slot> {
        self.sessions.get(session).copied()
    }

    /// Finds a viewer by one of its ufrags.
    pub(crate) fn by_ufrag(&self, ufrag: &str) -> Option<Slot> {
        self.ufrags.get(ufrag).copied()
    }

    /// Finds a viewer by the address its packets come from.
    pub(crate) fn by_address(&self, address: &SocketAddr) -> Option<Slot> {
        self.addresses.get(address).copied()
    }

    /// Has the ufrags that the viewer's peer answers to lead to it, and no others.
    pub(crate) fn refresh_ufrags(&mut self, slot: Slot) {
        if let Some(viewer) = self.slots.get_mut(slot).and_then(Option::as_mut) {
            for ufrag in viewer.ufrags.drain(..) {
                self.ufrags.remove(&ufrag);
            }
            viewer.ufrags.extend(viewer.peer.ufrags().map(str::to_owned));
            let ufrags = viewer.ufrags.iter().cloned();
            self.ufrags.extend(ufrags.map(|ufrag| (ufrag, slot)));
        }
    }

    /// From now on packets from `address` are the viewer's. Whether they really come from it is for the viewer to
    /// say (`is_proven`): a claim does not take an address away from another viewer, a proof does.
    pub(crate) fn add_address(&mut self, slot: Slot, address: SocketAddr, is_proven: bool) {
        let known = self.addresses.get(&address).copied();
        if known == Some(slot) || (known.is_some() && !is_proven) {
            return;
        }
        if let Some(viewer) = self.slots.get_mut(slot).and_then(Option::as_mut) {
            self.addresses.insert(address, slot);
            if viewer.addresses.contains(&address) {
                return;
            }
            viewer.addresses.push(address);
            if viewer.addresses.len() > MAX_ADDRESSES {
                let first = viewer.addresses.remove(0);
                self.forget_address(slot, &first);
            }
        }
    }

    /// `address` does not lead to this viewer any more; it may be another's by now.
    fn forget_address(&mut self, slot: Slot, address: &SocketAddr) {
        if self.addresses.get(address) == Some(&slot) {
            self.addresses.remove(address);
        }
    }

    /// Looks at the viewer's timers again, after something was done with it.
    pub(crate) fn reschedule(&mut self, slot: Slot) {
        if let Some(viewer) = self.slots.get(slot).and_then(Option::as_ref) {
            self.due[slot] = Some(viewer.due());
        }
    }

    /// A viewer whose timers are due, searched for from `from` on.
    pub(crate) fn next_due(&self, from: Slot, now: Instant) -> Option<Slot> {
        let due = self.due.get(from..)?;
        due.iter()
            .position(|due| due.is_some_and(|due| due <= now))
            .map(|at| from + at)
    }

    /// When the next timer is due.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.due.iter().flatten().min().copied()
    }

    /// Every occupied slot.
    pub(crate) fn slots(&self) -> Vec<Slot> {
        (0..self.slots.len())
            .filter(|slot| self.slots[*slot].is_some())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Input, PeerConfig, dtls::Identity, ice::Credentials};

    fn viewer() -> Box<Viewer> {
        let (identity, now) = (Identity::generate().unwrap(), Instant::now());
        let config = PeerConfig {
            local: Credentials::random("first"),
            remote: Credentials::random(""),
            sockets: Vec::new(),
            fingerprints: vec![identity.fingerprint().clone()],
            ssrc: 7,
            payload_type: 96,
            repair: None,
            numbering: None,
            playout: None,
            capture_time: None,
            connect_timeout: HOLD,
            disconnect_grace: HOLD,
            data: None,
            receives: None,
            begins: false,
        };
        let peer = Peer::new(&identity, config, now);
        let stream = Arc::new(Stream::new("test".parse().unwrap(), 0));
        Box::new(Viewer::new(SessionId::random(), stream, peer, Rung::Full, now))
    }

    fn address(number: u16) -> SocketAddr {
        ([127, 0, 0, 1], number).into()
    }

    #[test]
    fn what_leads_to_a_viewer_is_bounded_and_goes_with_it() {
        let mut viewers = Viewers::default();
        let slot = viewers.insert(viewer());
        for number in 1..=1000 {
            viewers.add_address(slot, address(number), true);
            let restart = Input::Restart(Credentials::random("again"), Credentials::random(""));
            viewers.get_mut(slot).unwrap().peer.handle(restart, Instant::now());
            viewers.refresh_ufrags(slot);
        }
        assert_eq!(viewers.addresses.len(), MAX_ADDRESSES);
        assert_eq!(viewers.by_address(&address(1000)), Some(slot));
        assert_eq!(viewers.ufrags.len(), 2, "the one in use, and the newest");
        viewers.remove(slot);
        assert!(viewers.addresses.is_empty() && viewers.ufrags.is_empty() && viewers.sessions.is_empty());
    }

    #[test]
    fn an_address_is_whose_proof_came_last() {
        let mut viewers = Viewers::default();
        let (one, other) = (viewers.insert(viewer()), viewers.insert(viewer()));
        viewers.add_address(one, address(1), false);
        viewers.add_address(other, address(1), false);
        assert_eq!(viewers.by_address(&address(1)), Some(one), "a claim takes nothing away");
        viewers.add_address(other, address(1), true);
        assert_eq!(viewers.by_address(&address(1)), Some(other));
        viewers.remove(one);
        assert_eq!(viewers.by_address(&address(1)), Some(other));
    }
}
