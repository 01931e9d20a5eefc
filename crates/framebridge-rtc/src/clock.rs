//! The clock that encoders stamp pictures with.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Now on the machine's monotonic clock, which encoders stamp pictures with.
pub(crate) fn monotonic() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    Duration::new(now.tv_sec.try_into().unwrap_or(0), now.tv_nsec.try_into().unwrap_or(0))
}
