//! The service manager's store of file descriptors (`FileDescriptorStoreMax=`): what is put there comes back to the
//! next life of this process. Without a service manager nothing is kept, and nothing comes back.

#![expect(
    unsafe_code,
    reason = "descriptors are handed to a process as bare numbers in its environment"
)]

use std::{
    os::fd::{BorrowedFd, FromRawFd as _, OwnedFd},
    sync::atomic::{AtomicBool, Ordering},
};

use sd_notify::NotifyState;

/// No word to the manager to drop a descriptor by itself when its other end hangs up.
const KEEP_WHATEVER: NotifyState<'_> = NotifyState::Custom("FDPOLL=0");

/// Puts a copy of `fd` into the store. Names are up to 255 visible ASCII characters, and no colon; several descriptors
/// may have one name.
pub fn store(name: &str, fd: BorrowedFd<'_>) {
    let state = [NotifyState::FdStore, NotifyState::FdName(name), KEEP_WHATEVER];
    if let Err(error) = sd_notify::notify_with_fds(&state, &[fd]) {
        tracing::warn!(%error, name, "the service manager did not take a descriptor");
    }
}

/// Takes what has this name out of the store.
pub fn discard(name: &str) {
    let state = [NotifyState::FdStoreRemove, NotifyState::FdName(name)];
    if let Err(error) = sd_notify::notify(&state) {
        tracing::debug!(%error, name, "the service manager was not told");
    }
}

/// What an earlier life of this process has put into the store, by name; nothing from the second call on.
pub fn take_stored() -> Vec<(String, OwnedFd)> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.swap(true, Ordering::Relaxed) {
        return Vec::new();
    }
    match sd_notify::listen_fds_with_names() {
        Ok(stored) => stored
            // SAFETY: LISTEN_PID names this process, so these numbers are open descriptors that were passed to it for
            // its own; nothing else takes them, and this is done once.
            .map(|(number, name)| (name, unsafe { OwnedFd::from_raw_fd(number) }))
            .collect(),
        Err(error) => {
            tracing::warn!(%error, "what the service manager kept can't be taken back");
            Vec::new()
        }
    }
}
