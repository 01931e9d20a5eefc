//! Viewers kept in a memory file, so that they outlive this process.
//!
//! A worker writes each live viewer's [`TransmitState`](crate::TransmitState) into a sealed memory file that another process holds open
//! too. When this process is killed, the next one reads the file and goes on sending to the same viewers: no new
//! handshake, no new session. The file is memory: it never touches a disk, and a viewer's place in it is wiped when
//! the viewer goes.
//!
//! # Indices are reserved before they are used
//!
//! What must never happen is that the next process protects other bytes under an index that this one has used (see
//! [`track`](crate::track)). So a place holds the first index that this process promises *not* to use, and the promise
//! is renewed ahead of sending ([`ViewerFile::reserve`], one small write in some [`STRIDE`] packets). The next process starts
//! there. `kill -9` can't undo a write that has returned, and a write within a page is not torn by it; a place that is
//! damaged all the same fails its digest and is passed over.

use std::{
    io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
};

use ring::digest::{SHA256, digest};
use rustix::{
    fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, fstat, ftruncate, memfd_create},
    io::{pread, pwrite},
};
use zeroize::Zeroizing;

use super::record::Record;
use crate::TrackState;

/// Bytes of a place: a divisor of the page size, so that no write crosses two pages.
const PLACE: usize = 1024;
/// Places in a file: what one worker can carry, several times over. Untouched ones take no memory.
const PLACES: usize = 8192;
/// What is promised: the first index of the stream's SSRC (8), of the repairs' (8) and of SRTCP (4).
const PROMISE: usize = 20;
/// Where a place's record starts: after the promise, the length (4) and the digest (16).
const RECORD: usize = PROMISE + 4 + 16;
/// RTP indices of each SSRC that are reserved at once. What is left of them when the process dies is a gap that the viewer sees as
/// that many lost packets; 256 are about one second at 2.5 Mb/s.
pub(crate) const STRIDE: u64 = 256;
/// SRTCP indices that are reserved at once: a report a second.
pub(crate) const RTCP_STRIDE: u32 = 64;
/// A place in a [`ViewerFile`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place(usize);

/// One worker's memory file.
#[derive(Debug)]
pub(crate) struct ViewerFile {
    file: OwnedFd,
    free: Vec<usize>,
}

impl ViewerFile {
    /// An empty one.
    ///
    /// # Errors
    /// The system has no memory files.
    pub(crate) fn create() -> io::Result<Self> {
        let file = memfd_create("framebridge-viewers", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&file, (PLACE * PLACES) as u64)?;
        fcntl_add_seals(&file, SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
        Ok(Self {
            file,
            free: (0..PLACES).rev().collect(),
        })
    }

    /// Goes on with the file of an earlier process, if there is one and it can be read, and gives what it kept.
    pub(crate) fn restore(file: Option<OwnedFd>) -> io::Result<(Self, Vec<(Place, Record)>)> {
        if let Some(file) = file {
            match Self::open(file) {
                Ok(found) => return Ok(found),
                Err(error) => tracing::warn!(%error, "the viewers of the process before can't be taken over"),
            }
        }
        Ok((Self::create()?, Vec::new()))
    }

    fn open(file: OwnedFd) -> io::Result<(Self, Vec<(Place, Record)>)> {
        let sealed = fcntl_get_seals(&file)?.contains(SealFlags::GROW | SealFlags::SHRINK);
        let is_ours = usize::try_from(fstat(&file)?.st_size) == Ok(PLACE * PLACES);
        if !sealed || !is_ours {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut viewer_file = Self { file, free: Vec::new() };
        let (mut kept, mut unreadable) = (Vec::new(), 0);
        for place in (0..PLACES).rev().map(Place) {
            match viewer_file.read(place)? {
                (Some(record), _) => kept.push((place, record)),
                (None, true) => {
                    // Of another layout, or damaged: there may be keys in it all the same.
                    viewer_file.wipe(place);
                    unreadable += 1;
                }
                (None, false) => viewer_file.free.push(place.0),
            }
        }
        if unreadable > 0 {
            tracing::warn!("{unreadable} sessions of the process before can't be read, and have ended");
        }
        Ok((viewer_file, kept))
    }

    /// The file, for another process to hold.
    pub(crate) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Keeps a viewer. `None`: there is no place left, or it does not fit; the viewer will not outlive this process.
    pub(crate) fn put(&mut self, record: &Record) -> Option<Place> {
        let place = Place(self.free.pop()?);
        if self.rewrite(place, record) {
            Some(place)
        } else {
            self.free.push(place.0);
            None
        }
    }

    /// Replaces what is kept in `place`.
    pub(crate) fn rewrite(&self, place: Place, record: &Record) -> bool {
        let encoded = record.encode();
        let Ok(len) = u32::try_from(encoded.len()) else {
            return false;
        };
        if RECORD + encoded.len() > PLACE {
            return false;
        }
        let mut bytes = Zeroizing::new([0; PLACE]);
        bytes[..PROMISE].copy_from_slice(&Promise::of(&record.state.track).encode());
        bytes[PROMISE..PROMISE + 4].copy_from_slice(&len.to_le_bytes());
        bytes[PROMISE + 4..RECORD].copy_from_slice(&digest(&SHA256, &encoded).as_ref()[..16]);
        bytes[RECORD..RECORD + encoded.len()].copy_from_slice(&encoded);
        self.write(place, 0, &bytes[..])
    }

    /// Promises that no index from these on is used before the next promise. False: the promise could not be written, so
    /// nothing beyond the one before may be sent.
    pub(crate) fn reserve(&self, place: Place, promise: Promise) -> bool {
        self.write(place, 0, &promise.encode())
    }

    /// Forgets the viewer in `place`, keys first.
    pub(crate) fn wipe(&mut self, place: Place) {
        if !self.write(place, 0, &[0; PLACE]) {
            tracing::error!("a viewer's keys could not be wiped");
        }
        self.free.push(place.0);
    }

    fn write(&self, place: Place, offset: usize, bytes: &[u8]) -> bool {
        pwrite(&self.file, bytes, (place.0 * PLACE + offset) as u64) == Ok(bytes.len())
    }

    /// What is kept in a place, and whether anything has been written there.
    fn read(&self, place: Place) -> io::Result<(Option<Record>, bool)> {
        let mut bytes = Zeroizing::new([0; PLACE]);
        if pread(&self.file, &mut bytes[..], (place.0 * PLACE) as u64)? != PLACE {
            return Ok((None, true));
        }
        let is_written = *bytes != [0; PLACE];
        Ok((is_written.then(|| parse_place(&bytes)).flatten(), is_written))
    }
}

fn parse_place(bytes: &[u8; PLACE]) -> Option<Record> {
    let (promise, rest) = bytes.split_first_chunk()?;
    let (len, _) = rest.split_first_chunk()?;
    let len = usize::try_from(u32::from_le_bytes(*len)).ok()?;
    let encoded = bytes
        .get(RECORD..RECORD.checked_add(len)?)
        .filter(|bytes| !bytes.is_empty())?;
    if digest(&SHA256, encoded).as_ref()[..16] != bytes[PROMISE + 4..RECORD] {
        return None;
    }
    let mut record = Record::decode(encoded)?;
    Promise::decode(promise).begin(&mut record.state.track);
    Some(record)
}

/// The first indices that are promised not to be used: of the stream's SSRC, of the repairs', and of SRTCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Promise {
    pub(crate) next: u64,
    pub(crate) next_repair: u64,
    pub(crate) rtcp_index: u32,
}

impl Promise {
    /// Where a track stands: the next process starts there.
    pub(crate) fn of(track: &TrackState) -> Self {
        Self {
            next: track.next,
            next_repair: track.repair.map_or(0, |repair| repair.next),
            rtcp_index: track.rtcp_index,
        }
    }

    /// Has a track start there.
    fn begin(self, track: &mut TrackState) {
        (track.next, track.rtcp_index) = (self.next, self.rtcp_index);
        if let Some(repair) = &mut track.repair {
            repair.next = self.next_repair;
        }
    }

    fn encode(self) -> [u8; PROMISE] {
        let mut bytes = [0; PROMISE];
        bytes[..8].copy_from_slice(&self.next.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.next_repair.to_le_bytes());
        bytes[16..].copy_from_slice(&self.rtcp_index.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8; PROMISE]) -> Self {
        let long = |at: usize| u64::from_le_bytes(std::array::from_fn(|byte| bytes[at + byte]));
        Self {
            next: long(0),
            next_repair: long(8),
            rtcp_index: u32::from_le_bytes(std::array::from_fn(|byte| bytes[16 + byte])),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::record::tests::record, *};

    impl ViewerFile {
        /// What the next process would start from.
        pub(crate) fn promised(&self, place: Place) -> Promise {
            Promise::of(&self.read(place).unwrap().0.expect("a kept viewer").state.track)
        }
    }

    /// The file as another process sees it.
    fn reopen(viewer_file: &ViewerFile) -> (ViewerFile, Vec<(Place, Record)>) {
        ViewerFile::open(viewer_file.file().try_clone_to_owned().unwrap()).unwrap()
    }

    #[test]
    fn what_is_put_is_found_by_the_next_process() {
        let mut viewer_file = ViewerFile::create().unwrap();
        let records = [record(1), record(2), record(3)];
        let places: Vec<_> = records.iter().map(|record| viewer_file.put(record).unwrap()).collect();
        viewer_file.wipe(places[1]);
        let (next, mut kept) = reopen(&viewer_file);
        kept.reverse();
        assert_eq!(kept, [(places[0], records[0].clone()), (places[2], records[2].clone())]);
        assert_eq!(next.free.len(), PLACES - 2);
        let mut bytes = [1; PLACE];
        pread(&viewer_file.file, &mut bytes[..], (places[1].0 * PLACE) as u64).unwrap();
        assert_eq!(bytes, [0; PLACE], "nothing of the key stays");
    }

    #[test]
    fn the_next_process_starts_at_the_last_promise() {
        let mut viewer_file = ViewerFile::create().unwrap();
        let place = viewer_file.put(&record(1)).unwrap();
        let promise = Promise {
            next: 80_000,
            next_repair: 90_000,
            rtcp_index: 99,
        };
        assert!(viewer_file.reserve(place, promise));
        let (_, kept) = reopen(&viewer_file);
        assert_eq!(Promise::of(&kept[0].1.state.track), promise);
    }

    #[test]
    fn file_is_sealed_and_others_are_refused() {
        let viewer_file = ViewerFile::create().unwrap();
        assert!(ftruncate(viewer_file.file(), 0).is_err());
        let other = memfd_create("other", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        assert!(ViewerFile::open(other).is_err());
    }

    #[test]
    fn full_viewer_file_and_oversized_record_are_refused() {
        let mut viewer_file = ViewerFile::create().unwrap();
        let mut big = record(1);
        big.etag = "x".repeat(PLACE);
        assert_eq!(viewer_file.put(&big), None);
        assert_eq!(viewer_file.free.len(), PLACES, "its place is free again");
        viewer_file.free.truncate(1);
        assert!(viewer_file.put(&record(1)).is_some() && viewer_file.put(&record(2)).is_none());
    }

    proptest! {
        #[test]
        fn damage_is_passed_over(at in PROMISE..PLACE, to: u8) {
            let mut viewer_file = ViewerFile::create().unwrap();
            let original = record(1);
            let place = viewer_file.put(&original).unwrap();
            prop_assert!(viewer_file.write(place, at, &[to]));
            let (next, kept) = reopen(&viewer_file);
            prop_assert!(kept.is_empty() || kept[0].1 == original);
            prop_assert_eq!(next.free.len(), PLACES - kept.len());
            let mut bytes = [0; PLACE];
            pread(&viewer_file.file, &mut bytes[..], (place.0 * PLACE) as u64).unwrap();
            prop_assert!(!kept.is_empty() || bytes == [0; PLACE], "keys stay that nobody will use");
        }

        #[test]
        fn random_places_never_panic(bytes in prop::collection::vec(any::<u8>(), PLACE)) {
            let mut place = [0; PLACE];
            place.copy_from_slice(&bytes);
            _ = parse_place(&place);
            _ = Record::decode(&bytes);
        }
    }
}
