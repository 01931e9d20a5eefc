//! The streams there are. They come and go while everything runs.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use framebridge_proto::StreamName;

use crate::stream::Stream;

/// All streams, by name.
#[derive(Debug, Default)]
pub(crate) struct Streams(RwLock<BTreeMap<StreamName, Arc<Stream>>>);

impl Streams {
    /// The stream of this name, if there is one.
    pub(crate) fn get(&self, name: &StreamName) -> Option<Arc<Stream>> {
        let streams = self.0.read().unwrap_or_else(PoisonError::into_inner);
        streams.get(name).map(Arc::clone)
    }

    /// All of them, by name.
    pub(crate) fn all(&self) -> Vec<Arc<Stream>> {
        let streams = self.0.read().unwrap_or_else(PoisonError::into_inner);
        streams.values().map(Arc::clone).collect()
    }

    /// Adds a stream, or takes it in place of the one of its name.
    pub(crate) fn set(&self, stream: Arc<Stream>) {
        let mut streams = self.0.write().unwrap_or_else(PoisonError::into_inner);
        streams.insert(stream.name.clone(), stream);
    }

    /// From here on there is no such stream.
    pub(crate) fn remove(&self, name: &StreamName) {
        let mut streams = self.0.write().unwrap_or_else(PoisonError::into_inner);
        streams.remove(name);
    }
}
