//! What handles know of a viewer's session.

use std::sync::Arc;

use crate::{Link, ViewerState, ice::Credentials, reach::Restarts, stream::Stream};

/// An open session, as handles know it.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) stream: Arc<Stream>,
    pub(crate) worker: usize,
    pub(crate) etag: String,
    pub(crate) remote: Credentials,
    pub(crate) mid: Option<String>,
    pub(crate) restarts: Restarts,
    /// How often our addresses had changed when it was told of them; see `EngineState::moves`.
    pub(crate) told: u64,
    pub(crate) state: ViewerState,
    /// As the worker last saw it.
    pub(crate) link: Link,
}
