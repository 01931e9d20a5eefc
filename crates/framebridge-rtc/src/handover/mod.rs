//! What outlives this process in the hands of another: its sockets, so that viewers' packets have somewhere to go, and
//! its viewer files, so that the next process knows the viewers.

pub(crate) mod record;
pub(crate) mod reservation;
pub(crate) mod viewer_file;

use std::{
    io,
    net::IpAddr,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
};

/// Descriptors by name. The names are the engine's own; whoever keeps them need not understand them.
#[derive(Debug, Default)]
pub struct Handover(Vec<(String, OwnedFd)>);

impl Handover {
    /// For another process to keep.
    pub fn iter(&self) -> impl Iterator<Item = (&str, BorrowedFd<'_>)> {
        self.0.iter().map(|(name, fd)| (name.as_str(), fd.as_fd()))
    }

    /// The same descriptors once more.
    ///
    /// # Errors
    /// There are no descriptors left.
    pub fn try_clone(&self) -> io::Result<Self> {
        let clone = |(name, fd): &(String, OwnedFd)| Ok((name.clone(), fd.try_clone()?));
        self.0.iter().map(clone).collect()
    }

    pub(crate) fn add(&mut self, name: String, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.0.push((name, fd.try_clone_to_owned()?));
        Ok(())
    }

    pub(crate) fn take(&mut self, name: &str) -> Option<OwnedFd> {
        let at = self.0.iter().position(|(known, _)| known == name)?;
        Some(self.0.swap_remove(at).1)
    }
}

impl FromIterator<(String, OwnedFd)> for Handover {
    fn from_iter<I: IntoIterator<Item = (String, OwnedFd)>>(kept: I) -> Self {
        Self(kept.into_iter().collect())
    }
}

/// A worker's socket on an address.
pub(crate) fn socket_name(worker: usize, ip: IpAddr) -> String {
    format!("udp-{worker}-{ip}")
}

/// A worker's viewer file.
pub(crate) fn viewer_file_name(worker: usize) -> String {
    format!("viewers-{worker}")
}
