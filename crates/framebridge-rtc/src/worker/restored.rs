//! Those whom an earlier process kept.

use std::{sync::Arc, time::Instant};

use framebridge_proto::{StreamName, media::Rung};

use super::Worker;
use crate::{
    Link, Peer, ViewerState,
    clock::monotonic,
    handover::{record::Record, reservation::Reservation, viewer_file::Place},
    mutex::lock,
    packetizer::ticks,
    publishers::PublisherOutlet,
    reach::Restarts,
    sessions::Session,
    stream::Stream,
    viewer::Viewer,
};

impl Worker {
    /// Goes on with a viewer that an earlier process kept. One that there is no room for any more is forgotten.
    pub(crate) fn restore(&mut self, place: Place, record: Record, stream: &StreamName, now: Instant) {
        let stream = self.shared.stream(stream);
        let limit = self.shared.config.max_viewers_per_stream;
        let is_reachable = record.state.path.socket < self.sockets.len();
        if is_reachable && record.state.receives.is_some() {
            return self.restore_publisher(place, record, stream, now);
        }
        if !is_reachable || !stream.reserve(limit) {
            self.forget(place);
            return;
        }
        let stamp = u64::try_from(monotonic().as_nanos()).unwrap_or(u64::MAX);
        let rung = record.rung;
        for rung in Rung::ALL {
            lock(stream.packetizer(rung)).start_after(stamp);
        }
        let reservation = Reservation::of(place, &record);
        let Record {
            session,
            etag,
            mid,
            state,
            best,
            ..
        } = record;
        let grace = self.shared.config.disconnect_grace;
        let peer = Peer::restore(&state, self.shared.families(), grace, now);
        let entry = Session {
            stream: Arc::clone(&stream),
            worker: self.number,
            etag,
            remote: state.remote.clone(),
            mid,
            restarts: Restarts::default(),
            is_lost: false,
            state: ViewerState::Live,
            link: Link::default(),
        };
        self.shared.open(session, entry);
        let mut viewer = Viewer::new(session, stream, peer, rung, now);
        viewer.best = best;
        viewer.reservation = Some(reservation);
        if let Some((track, _)) = viewer.peer.media() {
            track.start_after(ticks(stamp));
        }
        let slot = self.join(Box::new(viewer), now);
        self.viewers.add_address(slot, state.path.remote, true);
    }

    /// Forgets a viewer that an earlier process kept.
    pub(crate) fn forget(&mut self, place: Place) {
        self.viewer_file.wipe(place);
    }

    /// Goes on with a publisher that an earlier process kept, as soon as somebody takes it up. One that there is no room for any more is
    /// forgotten.
    fn restore_publisher(&mut self, place: Place, record: Record, stream: Arc<Stream>, now: Instant) {
        let reservation = Reservation::of(place, &record);
        let Record {
            session,
            etag,
            mid,
            state,
            ..
        } = record;
        let entry = Session {
            stream: Arc::clone(&stream),
            worker: self.number,
            etag,
            remote: state.remote.clone(),
            mid,
            restarts: Restarts::default(),
            is_lost: false,
            state: ViewerState::Live,
            link: Link::default(),
        };
        if !self.shared.open_publisher(session, entry) {
            return self.forget(place);
        }
        let grace = self.shared.config.disconnect_grace;
        let peer = Peer::restore(&state, self.shared.families(), grace, now);
        let (outlet, events) = PublisherOutlet::new(now);
        self.shared.leave_to_be_resumed(session, events, outlet.heard().clone());
        let mut viewer = Viewer::new(session, stream, peer, Rung::Full, now);
        viewer.publisher = Some(outlet);
        viewer.footing.leave();
        viewer.reservation = Some(reservation);
        let slot = self.join(Box::new(viewer), now);
        self.viewers.add_address(slot, state.path.remote, true);
    }
}
