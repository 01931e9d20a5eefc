//! Places that are shared out so that no client can take all of them.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use framebridge_core as core;
use framebridge_core::places::NoPlace;

/// Whose request it is, as far as limits go: an address ([`network`](framebridge_core::places::network)), or nobody's in particular.
///
/// `None` is what is on this machine: its owner, the supervisor's probe, and a bridge or a proxy, behind which are many. They
/// are limited together, by what there is in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client(pub Option<IpAddr>);

/// So many places in all, and so many for each address.
#[derive(Debug, Clone)]
pub struct Places(Arc<Mutex<core::places::Places<IpAddr>>>);

/// One of them, until it is dropped.
#[derive(Debug)]
pub struct Place {
    places: Places,
    whose: Option<IpAddr>,
}

impl Places {
    /// `all` places, of which each address may have `each`.
    pub fn new(all: usize, each: usize) -> Self {
        Self(Arc::new(Mutex::new(core::places::Places::new(all, each))))
    }

    /// Takes one.
    ///
    /// # Errors
    /// There is none (for this client).
    pub fn take(&self, client: Client) -> Result<Place, NoPlace> {
        let Client(whose) = client;
        self.lock().take(whose)?;
        Ok(Place {
            places: self.clone(),
            whose,
        })
    }

    /// How many are taken.
    pub fn taken(&self) -> usize {
        self.lock().taken()
    }

    fn lock(&self) -> MutexGuard<'_, core::places::Places<IpAddr>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().give_back(self.whose.as_ref());
    }
}
