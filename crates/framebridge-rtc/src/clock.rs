//! The clocks that pictures are stamped with: by encoders, and for viewers.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

/// Now on the machine's monotonic clock, which encoders stamp pictures with.
pub(crate) fn monotonic() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    Duration::new(now.tv_sec.try_into().unwrap_or(0), now.tv_nsec.try_into().unwrap_or(0))
}

/// A moment in NTP's format (RFC 5905 section 6): seconds since 1900 above, their fraction below.
pub(crate) fn ntp(at: SystemTime) -> u64 {
    const UNIX_SINCE_1900: u64 = 2_208_988_800;
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let fraction = (u64::from(since.subsec_nanos()) << 32) / 1_000_000_000;
    // Era 1 begins in 2036: the seconds wrap, as they should.
    (since.as_secs() + UNIX_SINCE_1900) << 32 | fraction
}
