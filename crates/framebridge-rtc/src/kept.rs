//! One viewer in the vault: where it is, and what was promised for it.

use crate::{
    Peer, SessionId,
    ice::Path,
    shared::Session,
    track::Track,
    vault::{Place, RTCP_STRIDE, Record, STRIDE, Vault},
};

/// A viewer's place, and what the vault says of it.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) place: Place,
    /// Promised not to be used: RTP indices from here on, ...
    next: u64,
    /// ... and SRTCP indices from here on.
    rtcp_index: u32,
    path: Path,
    ufrag: String,
}

impl Kept {
    /// What is known of a viewer that was found in `place`.
    pub(crate) fn found(place: Place, record: &Record) -> Self {
        let state = &record.state;
        Self {
            place,
            next: state.track.next,
            rtcp_index: state.track.rtcp_index,
            path: state.path,
            ufrag: state.local.ufrag.clone(),
        }
    }

    /// Keeps a live viewer, or keeps it anew where it was kept before. `None`: the vault has no place for it.
    pub(crate) fn keep(
        vault: &mut Vault,
        before: Option<&Self>,
        (session, entry): (SessionId, &Session),
        peer: &Peer,
    ) -> Option<Self> {
        let mut state = peer.export()?;
        state.track.next += STRIDE;
        state.track.rtcp_index += RTCP_STRIDE;
        let record = Record {
            session,
            stream: entry.stream.name.to_string(),
            etag: entry.etag.clone(),
            mid: entry.mid.clone(),
            state,
        };
        let place = match before {
            Some(kept) => vault.rewrite(kept.place, &record).then_some(kept.place),
            None => vault.put(&record),
        };
        place.map(|place| Self::found(place, &record))
    }

    /// Sees to it that the next `packets` RTP packets and one report are below what is promised. False: they must not
    /// be sent.
    #[inline]
    pub(crate) fn covers(&mut self, vault: &Vault, track: &Track, packets: u64) -> bool {
        let (next, rtcp_index) = (track.next() + packets, track.rtcp_index() + 1);
        (next <= self.next && rtcp_index < self.rtcp_index) || self.promise(vault, next, rtcp_index)
    }

    #[cold]
    fn promise(&mut self, vault: &Vault, next: u64, rtcp_index: u32) -> bool {
        let (next, rtcp_index) = (next + STRIDE, rtcp_index + RTCP_STRIDE);
        let promised = vault.reserve(self.place, next, rtcp_index);
        if promised {
            (self.next, self.rtcp_index) = (next, rtcp_index);
        } else {
            tracing::error!("a promise could not be kept in the vault: its viewer gets nothing meanwhile");
        }
        promised
    }

    /// Whether the vault leads to another path or credentials than the viewer has by now.
    pub(crate) fn is_outdated(&self, path: &Path, peer: &Peer) -> bool {
        self.path != *path || self.ufrag != peer.ufrag()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        frame::{Frame, Payloads},
        srtp::{MasterKey, Profile},
        track::TrackState,
        vault::tests::record,
    };

    proptest! {
        /// Whenever the process dies, the next one starts above every index that was used.
        #[test]
        fn nothing_beyond_the_promise_is_ever_used(steps in prop::collection::vec((0_u64..65, any::<bool>()), 1..80)) {
            let mut vault = Vault::create().unwrap();
            let record = record(1);
            let place = vault.put(&record).unwrap();
            let mut kept = Kept::found(place, &record);
            let key = MasterKey { key: [1; 16], salt: [2; 14] };
            // As after a restart: the promise found is where the track starts.
            let mut track = Track::new(TrackState { ..record.state.track }, Profile::AeadAes128Gcm, &key);
            let mut head = 1000;
            track.jump(head);
            for (packets, report) in steps {
                prop_assert!(kept.covers(&vault, &track, packets));
                for _ in 0..packets {
                    let frame = Frame::new(head, head, false, Instant::now(), Payloads::of(&[0, 0, 1, 0x41, 1]));
                    let payload = frame.packet(head).unwrap();
                    let mut datagram = vec![0; track.datagram_len(payload.0.len())];
                    track.write(&frame, head, payload, &mut datagram);
                    head += 1;
                }
                if report {
                    track.report(0, 0, "name", &mut Vec::new());
                }
                let next_life = vault.promised(place);
                prop_assert!(next_life.0 >= track.next(), "index {} was used", track.next() - 1);
                prop_assert!(next_life.1 > track.rtcp_index() || !report);
            }
        }
    }
}
