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
    /// The address here that its media left from is gone, and it has neither been reached from another nor been told of those.
    pub(crate) is_lost: bool,
    pub(crate) state: ViewerState,
    /// As the worker last saw it.
    pub(crate) link: Link,
}
