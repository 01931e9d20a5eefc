//! Requests under way on one box's link, and what of their answers waits for viewers.
//!
//! A viewer may read as slowly as it likes, and a box may send what it likes: what waits is counted in bytes, on the link and
//! in the process. Past either bound the answer of which most waits is broken off, whoever caused it.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use framebridge_studio_proto::{
    RpcChunk, RpcId, RpcResponse, is_endless,
    limits::{MAX_CHUNK, MAX_RESPONSE_BODY, RPC_OPEN},
};
use tokio::sync::Notify;

/// Bytes of answers that may wait on one link: the longest there may be, twice.
const MOST_PER_LINK: usize = 16 * 1024 * 1024;

/// Bytes of answers that may wait on all links together: eight links with as much as one may have.
const MOST_IN_ALL: usize = 128 * 1024 * 1024;

/// What a part that waits costs besides its bytes.
const OVERHEAD: usize = 128;

/// Bytes of answers that wait, on all links of the process.
#[derive(Debug, Default)]
pub(crate) struct Budget(AtomicUsize);

/// Requests under way on one link.
#[derive(Debug)]
pub(crate) struct Calls {
    table: Mutex<Table>,
    all: Arc<Budget>,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    open: BTreeMap<RpcId, Waiting>,
    /// Bytes of all of them that wait.
    held: usize,
}

/// An answer for which somebody waits.
#[derive(Debug, Default)]
struct Waiting {
    parts: VecDeque<Part>,
    /// Bytes in `parts`.
    held: usize,
    /// Bytes of its body so far.
    body: usize,
    has_head: bool,
    /// However long it is, it is an answer: what waits of it is bounded all the same.
    is_endless: bool,
    /// Nothing comes after what is in `parts`.
    has_end: bool,
    is_broken: bool,
    /// Messages of another node that came so far: the engine between the nodes may lose one.
    came: u32,
    bell: Arc<Notify>,
}

/// What comes back.
#[derive(Debug)]
pub(crate) enum Part {
    Head(RpcResponse),
    Body(Vec<u8>),
    End,
    /// Nothing more comes of an answer that is not at its end.
    Broken,
}

impl Part {
    fn cost(&self) -> usize {
        let bytes = match self {
            Self::Head(head) => head
                .headers
                .iter()
                .map(|(name, value)| name.len() + value.len() + OVERHEAD)
                .sum(),
            Self::Body(data) => data.len(),
            Self::End | Self::Broken => 0,
        };
        bytes + OVERHEAD
    }
}

impl Calls {
    pub(crate) fn new(all: Arc<Budget>) -> Self {
        Self {
            table: Mutex::default(),
            all,
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place for a request; none if there are too many.
    pub(crate) fn open(&self) -> Option<RpcId> {
        let mut table = self.table();
        if table.open.len() >= RPC_OPEN {
            return None;
        }
        let id = RpcId(table.next);
        table.next += 1;
        table.open.insert(id, Waiting::default());
        Some(id)
    }

    /// Gives a place back; true if the box may still be about to answer.
    pub(crate) fn close(&self, id: RpcId) -> bool {
        let mut table = self.table();
        let Some(waiting) = table.open.remove(&id) else {
            return false;
        };
        self.release(&mut table, waiting.held);
        !waiting.has_end
    }

    /// An answer's head came; false if nobody waits for it, or it has one already, which breaks it off.
    pub(crate) fn on_response(&self, mut response: RpcResponse) -> bool {
        let (id, end) = (response.id, response.end);
        let data = std::mem::take(&mut response.data).0;
        let mut table = self.table();
        match table.open.get_mut(&id) {
            None => return false,
            Some(waiting) if waiting.has_head => {
                self.break_off_in(&mut table, id);
                return false;
            }
            Some(waiting) => {
                waiting.has_head = true;
                let headers = response.headers.iter();
                waiting.is_endless = is_endless(headers.map(|(name, value)| (name.as_str(), value.as_str())));
            }
        }
        self.put(&mut table, id, Part::Head(response)) && self.put_body(&mut table, id, data, end)
    }

    /// An answer's next part came; false if nobody waits for it.
    pub(crate) fn on_chunk(&self, chunk: RpcChunk) -> bool {
        let mut table = self.table();
        // A body before its head is the box's mistake, and not the viewer's concern.
        match table.open.get(&chunk.id) {
            Some(waiting) if waiting.has_head => self.put_body(&mut table, chunk.id, chunk.data.0, chunk.end),
            Some(_) | None => false,
        }
    }

    /// Whether message number `at` of an answer is the next one. Where one was lost, the answer breaks off.
    pub(crate) fn is_next(&self, id: RpcId, at: u32) -> bool {
        let mut table = self.table();
        let Some(waiting) = table.open.get_mut(&id) else {
            return false;
        };
        let next = waiting.came == at;
        waiting.came = waiting.came.saturating_add(1);
        if !next {
            self.break_off_in(&mut table, id);
        }
        next
    }

    /// No more comes of an answer that is not at its end.
    pub(crate) fn break_off(&self, id: RpcId) {
        self.break_off_in(&mut self.table(), id);
    }

    /// The link is gone: nothing more comes.
    pub(crate) fn end(&self) {
        let mut table = self.table();
        // One that is here to its end needs the link no more.
        let unfinished = table.open.iter().filter(|(_, waiting)| !waiting.has_end);
        let unfinished: Vec<RpcId> = unfinished.map(|(id, _)| *id).collect();
        for id in unfinished {
            self.break_off_in(&mut table, id);
        }
    }

    /// The next part of an answer, when it is there. Cancel-safe.
    pub(crate) async fn next(&self, id: RpcId) -> Part {
        loop {
            let bell = {
                let mut table = self.table();
                let Some(waiting) = table.open.get_mut(&id) else {
                    return Part::Broken;
                };
                if let Some(part) = waiting.parts.pop_front() {
                    let cost = part.cost();
                    waiting.held -= cost;
                    self.release(&mut table, cost);
                    return part;
                }
                if waiting.has_end {
                    return Part::End;
                }
                if waiting.is_broken {
                    return Part::Broken;
                }
                Arc::clone(&waiting.bell)
            };
            bell.notified().await;
        }
    }

    fn put_body(&self, table: &mut Table, id: RpcId, data: Vec<u8>, end: bool) -> bool {
        let Some(waiting) = table.open.get_mut(&id).filter(|waiting| !waiting.has_end) else {
            return false;
        };
        waiting.body = waiting.body.saturating_add(data.len());
        if waiting.body > MAX_RESPONSE_BODY && !waiting.is_endless {
            self.break_off_in(table, id);
            return false;
        }
        if !data.is_empty() && !self.put(table, id, Part::Body(data)) {
            return false;
        }
        if let Some(waiting) = table.open.get_mut(&id).filter(|_| end) {
            waiting.has_end = true;
            waiting.bell.notify_one();
        }
        true
    }

    fn put(&self, table: &mut Table, id: RpcId, part: Part) -> bool {
        let cost = part.cost();
        while table.held + cost > MOST_PER_LINK || self.all.0.load(Ordering::Relaxed) + cost > MOST_IN_ALL {
            let largest = table.open.iter().max_by_key(|(_, waiting)| waiting.held);
            let largest = largest
                .filter(|(_, waiting)| waiting.held > 0)
                .map_or(id, |(id, _)| *id);
            self.break_off_in(table, largest);
            if largest == id {
                return false;
            }
        }
        let Some(waiting) = table.open.get_mut(&id).filter(|waiting| !waiting.is_broken) else {
            return false;
        };
        // Crumbs are put together, so that what is counted is what it costs.
        let added = match (waiting.parts.back_mut(), part) {
            (Some(Part::Body(before)), Part::Body(data)) if before.len() + data.len() <= MAX_CHUNK => {
                before.extend_from_slice(&data);
                cost - OVERHEAD
            }
            (_, part) => {
                waiting.parts.push_back(part);
                cost
            }
        };
        waiting.held += added;
        waiting.bell.notify_one();
        table.held += added;
        self.all.0.fetch_add(added, Ordering::Relaxed);
        true
    }

    fn break_off_in(&self, table: &mut Table, id: RpcId) {
        if let Some(waiting) = table.open.get_mut(&id) {
            (waiting.has_end, waiting.is_broken) = (false, true);
            waiting.parts = VecDeque::new();
            waiting.bell.notify_one();
            let held = std::mem::take(&mut waiting.held);
            self.release(table, held);
        }
    }

    fn release(&self, table: &mut Table, bytes: usize) {
        table.held -= bytes;
        self.all.0.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for Calls {
    fn drop(&mut self) {
        let held = self.table().held;
        self.all.0.fetch_sub(held, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use framebridge_studio_proto::Bytes64;

    use super::*;

    fn head(id: RpcId) -> RpcResponse {
        RpcResponse {
            id,
            status: 200,
            headers: vec![("etag".into(), "x".repeat(8000))],
            data: Bytes64::default(),
            end: false,
        }
    }

    fn chunk(id: RpcId, length: usize, end: bool) -> RpcChunk {
        let data = Bytes64(vec![7; length]);
        RpcChunk { id, data, end }
    }

    fn held(calls: &Calls) -> usize {
        calls.table().held
    }

    #[tokio::test]
    async fn second_head_ends_the_answer_and_frees_what_waited() {
        let calls = Calls::new(Arc::default());
        let id = calls.open().unwrap();
        assert!(!calls.on_chunk(chunk(id, 1, false)), "no body before a head");
        assert!(calls.on_response(head(id)) && calls.on_chunk(chunk(id, 1000, false)));
        assert!(held(&calls) > 9000);
        assert!(!calls.on_response(head(id)));
        assert_eq!(held(&calls), 0);
        assert!(matches!(calls.next(id).await, Part::Broken));
        for _ in 0..10_000 {
            assert!(!calls.on_response(head(id)) && !calls.on_chunk(chunk(id, MAX_CHUNK, false)));
        }
        assert_eq!(held(&calls), 0);
    }

    #[tokio::test]
    async fn what_waits_is_bounded_and_the_answer_of_which_most_waits_goes_first() {
        let all = Arc::new(Budget::default());
        let calls = Calls::new(Arc::clone(&all));
        let [slow, slower, quick] = [(); 3].map(|()| calls.open().unwrap());
        for id in [slow, slower, quick] {
            assert!(calls.on_response(head(id)));
        }
        let fill = |id, megabytes: usize| (0..megabytes * 32).all(|_| calls.on_chunk(chunk(id, MAX_CHUNK, false)));
        assert!(fill(slow, 7) && fill(slower, 8));
        assert!(fill(quick, 6), "it is not the one of which most waits");
        assert!(!fill(slower, 1), "it was");
        assert!(held(&calls) <= MOST_PER_LINK && all.0.load(Ordering::Relaxed) == held(&calls));
        assert!(!fill(quick, 3), "longer than any answer may be");
        drop(calls);
        assert_eq!(all.0.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn film_may_be_longer_than_any_answer_as_long_as_it_is_read() {
        let calls = Calls::new(Arc::default());
        let id = calls.open().unwrap();
        let film = RpcResponse {
            headers: vec![("content-type".into(), "video/mp4".into())],
            ..head(id)
        };
        assert!(calls.on_response(film));
        assert!(matches!(calls.next(id).await, Part::Head(_)));
        for _ in 0..=2 * MAX_RESPONSE_BODY / MAX_CHUNK {
            assert!(calls.on_chunk(chunk(id, MAX_CHUNK, false)));
            assert!(matches!(calls.next(id).await, Part::Body(_)));
        }
        assert_eq!(held(&calls), 0);
    }

    #[tokio::test]
    async fn crumbs_cost_what_they_are() {
        let calls = Calls::new(Arc::default());
        let id = calls.open().unwrap();
        assert!(calls.on_response(head(id)));
        for _ in 0..100_000 {
            assert!(calls.on_chunk(chunk(id, 1, false)));
        }
        assert!(held(&calls) < 120_000, "{}", held(&calls));
        assert!(calls.on_chunk(chunk(id, 0, true)));
        let mut bytes = 0;
        loop {
            match calls.next(id).await {
                Part::Head(_) => {}
                Part::Body(data) => bytes += data.len(),
                Part::End => break,
                Part::Broken => panic!("it was whole"),
            }
        }
        assert_eq!((bytes, held(&calls)), (100_000, 0));
    }
}
