//! What somebody publishes to a stream, on its way to the stream's encoder: as a film without an end, that begins with the last
//! keyframe.

mod matroska;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use axum::body::Bytes;
use framebridge_core::{
    as_it_comes::HEAVIEST_GROUP,
    h264::{LONGEST_SET, PPS, SPS, Sps, kind, set_number},
    publisher_place::PublisherPlace,
};
use framebridge_rtc::{SessionId, Unit};
use tokio::{
    sync::{Notify, mpsc},
    task::AbortHandle,
};

/// Frames that an encoder has not read yet, some seconds of them. Full: it is cut off, and begins anew with the last keyframe.
const UNREAD: usize = 128;

/// Bytes that an encoder has not read yet: the heaviest group that is kept, which it is told at once, and as much again. More is as
/// if [`UNREAD`] were full.
const MOST_UNREAD: usize = 2 * HEAVIEST_GROUP;

/// Encoders that read at once: one, and another while the first is being replaced. One more: the first is cut off.
const MOST_READERS: usize = 4;

/// Parameter sets that are kept: encoders have one of each kind, and a few more where they change their mind.
const MOST_SETS: usize = 16;

/// Between two frames of a group that is told late, in a film's units: a millisecond.
const REPLAY_STEP: u64 = 10;

/// A keyframe is asked for when the last one is so old, in a film's units: four seconds. Browsers make none by themselves, and what
/// is sent on as it comes takes one in ten seconds.
const OLD_GROUP: u64 = 40_000;

/// What is published to one stream.
#[derive(Debug, Default)]
pub(crate) struct Feed {
    state: Mutex<State>,
    /// An encoder waits for a keyframe.
    pub(crate) keyframe_wanted: Notify,
}

#[derive(Debug, Default)]
struct State {
    place: PublisherPlace,
    /// Who has the place.
    session: Option<SessionId>,
    film: Film,
    readers: Vec<Reader>,
}

/// What has come of the publisher in the place.
#[derive(Debug, Default)]
struct Film {
    /// By kind and number.
    sets: BTreeMap<(u8, u32), Vec<u8>>,
    /// The time of its first frame, and as the film has it the latest, and that of the last keyframe.
    began: Option<u64>,
    latest: u64,
    keyed: u64,
    /// The film's head and its last group. Empty: there is none yet, or it is too long to be kept.
    group: Vec<Bytes>,
    bytes: usize,
}

#[derive(Debug)]
struct Reader {
    frames: mpsc::Sender<Bytes>,
    /// The size of each that was not read when last looked, and of all of them.
    sizes: VecDeque<usize>,
    unread: usize,
    has_begun: bool,
    /// There was no room for what came.
    is_behind: bool,
    /// A reader that is cut off may hang in a write.
    task: Option<AbortHandle>,
}

impl Drop for Reader {
    fn drop(&mut self) {
        // One that has read all so far ends by itself, and its encoder sees the end of the film.
        let may_hang = self.is_behind || self.frames.capacity() == 0;
        if let Some(task) = self.task.take().filter(|_| may_hang) {
            task.abort();
        }
    }
}

impl Reader {
    fn new(frames: mpsc::Sender<Bytes>) -> Self {
        Self {
            frames,
            sizes: VecDeque::new(),
            unread: 0,
            has_begun: false,
            is_behind: false,
            task: None,
        }
    }

    /// Gives it a piece of the film; false: there is no room for it, or nobody is there any more.
    fn send(&mut self, piece: Bytes) -> bool {
        let waiting = self.frames.max_capacity() - self.frames.capacity();
        while self.sizes.len() > waiting
            && let Some(read) = self.sizes.pop_front()
        {
            self.unread -= read;
        }
        let size = piece.len();
        let is_sent = self.unread + size <= MOST_UNREAD && self.frames.try_send(piece).is_ok();
        if is_sent {
            self.sizes.push_back(size);
            self.unread += size;
        }
        self.is_behind = !is_sent;
        is_sent
    }
}

impl Feed {
    /// Takes the publisher's place for `session`, whose offer has named these parameter sets. Returns whose session it was before,
    /// which is to end.
    ///
    /// # Errors
    /// Somebody publishes; when that may be tried again.
    pub(crate) fn take(&self, session: SessionId, sets: &[Vec<u8>]) -> Result<Option<SessionId>, Duration> {
        let mut state = self.state();
        state.place.take(Instant::now())?;
        let before = state.session.replace(session);
        state.begin_anew();
        sets.iter().for_each(|set| state.film.learn(set));
        Ok(before)
    }

    /// A session has ended.
    pub(crate) fn leave(&self, session: &SessionId) {
        let mut state = self.state();
        if state.session == Some(*session) {
            state.session = None;
            state.place.leave();
            state.begin_anew();
        }
    }

    /// Whether somebody publishes.
    pub(crate) fn is_taken(&self) -> bool {
        self.state().session.is_some()
    }

    /// A packet of a session came then, of a whole frame or not.
    pub(crate) fn heard(&self, session: &SessionId, at: Instant) {
        let mut state = self.state();
        if state.session == Some(*session) {
            state.place.heard(at);
        }
    }

    /// A frame has come by a session.
    pub(crate) fn push(&self, session: &SessionId, unit: &Unit) {
        let mut state = self.state();
        if state.session != Some(*session) {
            return;
        }
        state.push(unit);
        let is_old = state.film.latest.saturating_sub(state.film.keyed) > OLD_GROUP;
        if is_old || state.readers.iter().any(|reader| !reader.has_begun) {
            self.keyframe_wanted.notify_one();
        }
    }

    /// What a new reader gets; `None`: nobody publishes.
    pub(crate) fn join(&self) -> Option<mpsc::Receiver<Bytes>> {
        let mut state = self.state();
        state.session?;
        let (frames, unread) = mpsc::channel(UNREAD);
        let mut reader = Reader::new(frames);
        let film = state.film.told_late();
        reader.has_begun = !film.is_empty();
        if !reader.has_begun {
            self.keyframe_wanted.notify_one();
        } else if !reader.send(film.into()) {
            // Only a head that no decoder takes is so heavy.
            return None;
        }
        while state.readers.len() >= MOST_READERS {
            state.readers.remove(0);
        }
        state.readers.push(reader);
        Some(unread)
    }

    /// Who serves the reader that has joined last.
    pub(crate) fn served_by(&self, task: AbortHandle) {
        if let Some(reader) = self.state().readers.last_mut() {
            reader.task = Some(task);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// What comes next has nothing to do with what came before: readers see its end.
    fn begin_anew(&mut self) {
        self.film = Film::default();
        self.readers.clear();
    }

    fn push(&mut self, unit: &Unit) {
        for nal in unit.nals.iter().filter(|nal| matches!(kind(nal), SPS | PPS)) {
            self.film.learn(nal);
        }
        let began = *self.film.began.get_or_insert(unit.timestamp);
        let time = matroska::time(unit.timestamp.saturating_sub(began));
        self.film.latest = time;
        if unit.keyframe {
            self.film.keyed = time;
        }
        let frame: Bytes = matroska::frame(time, unit.keyframe, &unit.nals).into();
        let head: Option<Bytes> = unit.keyframe.then(|| self.film.head()).flatten().map(Bytes::from);
        self.film.keep(head.as_ref(), &frame, unit.keyframe);
        self.readers.retain_mut(|reader| match (&head, reader.has_begun) {
            (_, true) => reader.send(frame.clone()),
            (Some(head), false) => {
                reader.has_begun = true;
                reader.send([head.clone(), frame.clone()].concat().into())
            }
            (None, false) => true,
        });
    }
}

impl Film {
    fn learn(&mut self, set: &[u8]) {
        let Some(number) = set_number(set) else { return };
        let key = (kind(set), number);
        let has_room = self.sets.len() < MOST_SETS || self.sets.contains_key(&key);
        if has_room && set.len() <= LONGEST_SET {
            self.sets.insert(key, set.to_vec());
        }
    }

    /// The head of a film that begins here; `None`: what it takes is not known yet.
    fn head(&self) -> Option<Vec<u8>> {
        let of = |wanted: u8| {
            self.sets
                .iter()
                .filter(move |((kind, _), _)| *kind == wanted)
                .map(|(_, set)| set.as_slice())
        };
        let sps = Sps::parse(of(SPS).next()?)?;
        of(PPS).next()?;
        let (sets, more): (Vec<&[u8]>, Vec<&[u8]>) = (of(SPS).collect(), of(PPS).collect());
        Some(matroska::head((sps.width, sps.height), &sets, &more))
    }

    /// The film for who comes now: its head, and the last group as if it had come in the last moments. With the times that it had, an
    /// encoder would take it for the present, and stay behind by all of it. Empty: there is none.
    fn told_late(&self) -> Vec<u8> {
        let Some((head, frames)) = self.group.split_first() else {
            return Vec::new();
        };
        let mut film = head.to_vec();
        let times = (0..).map(|back| self.latest.saturating_sub(back * REPLAY_STEP));
        let times: Vec<u64> = times.take(frames.len()).collect();
        for (frame, time) in frames.iter().zip(times.into_iter().rev()) {
            let start = film.len();
            film.extend_from_slice(frame);
            matroska::retime(&mut film[start..], time);
        }
        film
    }

    fn keep(&mut self, head: Option<&Bytes>, frame: &Bytes, keyframe: bool) {
        if keyframe {
            self.group.clear();
            self.bytes = 0;
            self.group.extend(head.cloned());
        }
        // Nothing is kept of a group that has no beginning.
        if self.group.is_empty() {
            return;
        }
        self.bytes += frame.len();
        if self.bytes > HEAVIEST_GROUP {
            self.group.clear();
        } else {
            self.group.push(frame.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETS: [&[u8]; 2] = [
        &[
            0x67, 0x42, 0xc0, 0x1e, 0xd9, 0x00, 0xa0, 0x2f, 0xf9, 0x70, 0x11, 0x00, 0x00, 0x03, 0x00, 0x01, 0x00, 0x00,
            0x03, 0x00, 0x32, 0x8f, 0x16, 0x2e, 0x48,
        ],
        &[0x68, 0xce, 0x38, 0x80],
    ];

    fn session(number: u8) -> SessionId {
        format!("{number:032x}").parse().expect("an id")
    }

    fn unit(timestamp: u64, keyframe: bool, nals: &[&[u8]]) -> Unit {
        Unit {
            timestamp,
            keyframe,
            nals: nals.iter().map(|nal| nal.to_vec()).collect(),
        }
    }

    fn key(timestamp: u64) -> Unit {
        unit(timestamp, true, &[SETS[0], SETS[1], &[0x65, 1]])
    }

    fn drain(frames: &mut mpsc::Receiver<Bytes>) -> Vec<Bytes> {
        std::iter::from_fn(|| frames.try_recv().ok()).collect()
    }

    #[test]
    fn reader_begins_with_the_last_keyframe_and_sees_the_end() {
        let (feed, ours) = (Feed::default(), session(1));
        assert!(feed.join().is_none(), "nobody publishes");
        feed.take(ours, &[]).expect("free");
        let mut early = feed.join().expect("somebody does");
        feed.push(&ours, &unit(0, false, &[&[0x41, 1]]));
        assert!(drain(&mut early).is_empty());
        feed.push(&ours, &key(3000));
        feed.push(&ours, &unit(6000, false, &[&[0x41, 2]]));
        let mut late = feed.join().expect("it goes on");
        let (early_told, mut late_told) = (drain(&mut early).concat(), drain(&mut late).concat());
        assert_ne!(early_told, late_told, "the keyframe is told late");
        let key = early_told.len() - matroska::frame(0, false, &[vec![0x41, 2]]).len();
        let key = key - matroska::frame(0, true, &self::key(0).nals).len();
        assert_eq!(matroska::retime(&mut late_told[key..], matroska::time(3000)), 656);
        assert_eq!(early_told, late_told, "else both have the same film");
        feed.push(&session(2), &unit(9000, false, &[&[0x41, 3]]));
        assert!(drain(&mut late).is_empty(), "of a session that has not the place");
        feed.leave(&ours);
        assert_eq!(late.try_recv(), Err(mpsc::error::TryRecvError::Disconnected));
    }

    #[test]
    fn sets_that_the_offer_names_are_those_of_frames_that_name_none_and_none_is_without_bounds() {
        let (feed, ours) = (Feed::default(), session(1));
        let endless = [SETS[1], &[0x80; LONGEST_SET]].concat();
        let sets = [SETS[0].to_vec(), SETS[1].to_vec()];
        feed.take(ours, &sets).expect("free");
        let mut reader = feed.join().expect("somebody publishes");
        feed.push(&ours, &unit(0, true, &[&endless, &[0x65, 1]]));
        let told = drain(&mut reader).concat();
        assert!(told.windows(SETS[0].len()).any(|part| part == SETS[0]), "{told:?}");
        assert!(feed.state().film.sets.values().all(|set| set.len() <= LONGEST_SET));
    }

    #[test]
    fn keyframe_is_asked_for_when_the_last_one_is_old() {
        let (feed, ours) = (Feed::default(), session(1));
        let is_asked = || std::pin::pin!(feed.keyframe_wanted.notified()).as_mut().enable();
        feed.take(ours, &[]).expect("free");
        feed.push(&ours, &key(0));
        feed.push(&ours, &unit(3 * 90_000, false, &[&[0x41, 1]]));
        assert!(!is_asked());
        feed.push(&ours, &unit(5 * 90_000, false, &[&[0x41, 1]]));
        assert!(is_asked());
        feed.push(&ours, &key(6 * 90_000));
        assert!(!is_asked());
    }

    #[test]
    fn second_publisher_is_refused_and_encoder_that_reads_nothing_is_cut_off() {
        let (feed, ours) = (Feed::default(), session(1));
        feed.take(ours, &[]).expect("free");
        feed.push(&ours, &key(0));
        assert!(feed.take(session(2), &[]).is_err());
        let mut stopped = feed.join().expect("somebody publishes");
        for number in 1..200 {
            feed.push(&ours, &unit(number * 3000, false, &[&[0x41, 2]]));
        }
        assert_eq!(drain(&mut stopped).len(), UNREAD);
        assert_eq!(stopped.try_recv(), Err(mpsc::error::TryRecvError::Disconnected));
    }

    #[test]
    fn encoder_that_leaves_too_many_bytes_is_cut_off_and_one_that_reads_goes_on() {
        const FRAME: usize = 1 << 20;
        let (feed, ours, slice) = (Feed::default(), session(1), vec![0x41_u8; FRAME]);
        feed.take(ours, &[]).expect("free");
        feed.push(&ours, &key(0));
        let mut stopped = feed.join().expect("somebody publishes");
        let mut reads = feed.join().expect("somebody publishes");
        for number in 1..=40 {
            feed.push(&ours, &unit(number * 3000, false, &[&slice]));
            assert!(!drain(&mut reads).is_empty());
        }
        let left: usize = drain(&mut stopped).iter().map(Bytes::len).sum();
        assert!((MOST_UNREAD - 2 * FRAME..=MOST_UNREAD).contains(&left), "{left}");
        assert_eq!(stopped.try_recv(), Err(mpsc::error::TryRecvError::Disconnected));
        assert_eq!(reads.try_recv(), Err(mpsc::error::TryRecvError::Empty));
    }
}
