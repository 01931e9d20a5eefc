//! Exit codes of every program, from BSD's `sysexits.h`. The restart policy reads them, and so does systemd
//! (`RestartPreventExitStatus` in the units).

/// Stopped as asked, or done.
pub const OK: u8 = 0;

/// Failed in a way that has no code of its own.
pub const FAILURE: u8 = 1;

/// The command line is wrong (`EX_USAGE`).
pub const USAGE: u8 = 64;

/// Something needed is not there (`EX_UNAVAILABLE`).
pub const UNAVAILABLE: u8 = 69;

/// A panic (`EX_SOFTWARE`).
pub const SOFTWARE: u8 = 70;

/// The source hangs (`EX_IOERR`). After a crash loop an encoder shows the slate at once: less quality would not help.
pub const SOURCE: u8 = 74;

/// Wedged, or lost something that a new start brings back (`EX_TEMPFAIL`).
pub const TEMPORARY: u8 = 75;

/// The other side speaks another protocol version (`EX_PROTOCOL`).
pub const PROTOCOL: u8 = 76;

/// The other side refuses us (`EX_NOPERM`).
pub const REFUSED: u8 = 77;

/// The configuration is wrong (`EX_CONFIG`).
pub const CONFIG: u8 = 78;

/// Neither the supervisor nor systemd starts a process again that ended with one of these: a restart mends none of them.
pub const FINAL: [u8; 3] = [PROTOCOL, REFUSED, CONFIG];
