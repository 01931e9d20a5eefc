//! One viewer in the viewer file: where it is, and what was promised for it.

use framebridge_proto::media::Rung;

use crate::{
    Peer, ReceiveState, SessionId,
    handover::{
        record::Record,
        viewer_file::{Place, Promise, RTCP_STRIDE, STRIDE, ViewerFile},
    },
    ice::Path,
    sessions::Session,
    track::Track,
};

/// A viewer's place, and what the viewer file says of it.
#[derive(Debug)]
pub(crate) struct Reservation {
    pub(crate) place: Place,
    /// Not to be used from there on.
    promise: Promise,
    path: Path,
    ufrag: String,
    receives: Option<ReceiveState>,
}

impl Reservation {
    /// What is known of a viewer that was found in `place`.
    pub(crate) fn of(place: Place, record: &Record) -> Self {
        let state = &record.state;
        Self {
            place,
            promise: Promise::of(&state.track),
            path: state.path,
            ufrag: state.local.ufrag.clone(),
            receives: state.receives,
        }
    }

    /// Keeps a live viewer, or keeps it anew where it was kept before. `None`: the viewer file has no place for it.
    pub(crate) fn store(
        viewer_file: &mut ViewerFile,
        before: Option<&Self>,
        (session, entry): (SessionId, &Session),
        peer: &Peer,
        (rung, best): (Rung, Rung),
    ) -> Option<Self> {
        let mut state = peer.export()?;
        state.track.next += STRIDE;
        state.track.rtcp_index += RTCP_STRIDE;
        if let Some(repair) = &mut state.track.repair {
            repair.next += STRIDE;
        }
        let record = Record {
            session,
            stream: entry.stream.name.to_string(),
            etag: entry.etag.clone(),
            mid: entry.mid.clone(),
            state,
            rung,
            best,
        };
        let place = match before {
            Some(reservation) => viewer_file
                .rewrite(reservation.place, &record)
                .then_some(reservation.place),
            None => viewer_file.put(&record),
        };
        place.map(|place| Self::of(place, &record))
    }

    /// Sees to it that the next `packets` RTP packets, `repairs` repairs and one report are below what is promised. False: they
    /// must not be sent.
    #[inline]
    pub(crate) fn covers(&mut self, viewer_file: &ViewerFile, track: &Track, packets: u64, repairs: u64) -> bool {
        let repairs = if track.has_repair() { repairs } else { 0 };
        let needed = Promise {
            next: track.next() + packets,
            next_repair: track.next_repair() + repairs,
            rtcp_index: track.rtcp_index() + 1,
        };
        let is_covered = needed.next <= self.promise.next
            && needed.next_repair <= self.promise.next_repair
            && needed.rtcp_index < self.promise.rtcp_index;
        is_covered || self.promise(viewer_file, needed)
    }

    #[cold]
    fn promise(&mut self, viewer_file: &ViewerFile, needed: Promise) -> bool {
        let promise = Promise {
            next: needed.next + STRIDE,
            next_repair: needed.next_repair + STRIDE,
            rtcp_index: needed.rtcp_index + RTCP_STRIDE,
        };
        let promised = viewer_file.reserve(self.place, promise);
        if promised {
            self.promise = promise;
        } else {
            tracing::error!("a promise could not be kept in the viewer file: its viewer gets nothing meanwhile");
        }
        promised
    }

    /// Whether the viewer file leads to another path or credentials than the viewer has by now, or to where a publisher no more is.
    pub(crate) fn is_outdated(&self, path: &Path, peer: &Peer) -> bool {
        let has_gone_on = match (peer.receives(), &self.receives) {
            (Some(now), Some(kept)) => now.is_far_from(kept),
            _ => false,
        };
        self.path != *path || self.ufrag != peer.ufrag() || has_gone_on
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        frame::{Frame, Payloads},
        handover::record::tests::record,
        srtp::{MasterKey, Profile},
        track::TrackState,
    };

    proptest! {
        /// Whenever the process dies, the next one starts above every index that was used.
        #[test]
        fn nothing_beyond_the_promise_is_ever_used(steps in prop::collection::vec((0_u64..65, 0_u64..65, any::<bool>()), 1..80)) {
            let mut viewer_file = ViewerFile::create().unwrap();
            let record = record(1);
            let place = viewer_file.put(&record).unwrap();
            let mut reservation = Reservation::of(place, &record);
            let key = MasterKey { key: [1; 16], salt: [2; 14] };
            // As after a restart: the promise found is where the track starts.
            let mut track = Track::new(TrackState { ..record.state.track }, Profile::AeadAes128Gcm, &key);
            let mut head = 1000;
            track.jump(head);
            let sent = Frame::new(head, head, false, Instant::now(), Payloads::of(&[0, 0, 1, 0x41, 1]));
            for (packets, repairs, report) in steps {
                prop_assert!(reservation.covers(&viewer_file, &track, packets, repairs));
                for _ in 0..packets {
                    let frame = Frame::new(head, head, false, Instant::now(), Payloads::of(&[0, 0, 1, 0x41, 1]));
                    let payload = frame.packet(head).unwrap();
                    let mut datagram = vec![0; track.datagram_len(&frame, head, payload.0.len())];
                    track.write(&frame, head, payload, &mut datagram);
                    head += 1;
                }
                for _ in 0..repairs {
                    let payload = sent.packet(sent.first).unwrap();
                    let mut datagram = vec![0; track.repeated_len(&sent, sent.first, payload.0.len())];
                    track.rewrite(&sent, sent.first, payload, &mut datagram);
                }
                if report {
                    track.report(0, 0, "name", &mut Vec::new());
                }
                let next_life = viewer_file.promised(place);
                prop_assert!(next_life.next >= track.next(), "index {} was used", track.next() - 1);
                prop_assert!(next_life.next_repair >= track.next_repair(), "repair {} was used", track.next_repair() - 1);
                prop_assert!(next_life.rtcp_index > track.rtcp_index() || !report);
            }
        }
    }
}
