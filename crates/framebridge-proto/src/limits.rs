//! The largest messages and the longest times that a peer may take, in one place for both ends.

use std::time::Duration;

/// The largest control message, in bytes: a status of 64 streams is some 40 KB.
pub const MAX_CONTROL_MESSAGE: usize = 1 << 20;

/// The largest message from an encoder, in bytes: an IDR of 4K at 50 Mb/s is below 2 MiB, a PNG of a 4K frame below 16.
pub const MAX_MEDIA_MESSAGE: usize = 16 << 20;

/// The pictures of one clip, in bytes: what fits a message from an encoder, with room for the film's index.
pub const MAX_CLIP: usize = MAX_MEDIA_MESSAGE - (1 << 20);

/// The longest clip: what [`MAX_CLIP`] holds at 2 Mb/s.
pub const MAX_CLIP_SPAN: Duration = Duration::from_secs(60);

/// Clips of one stream that are made for viewers at once.
pub const MAX_VIEWERS_CLIPS: usize = 2;

/// How long either end of a new connection waits for the other's handshake.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a request over IPC waits for its answer.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest time that an operator can give a hook: whoever tries one waits for it.
pub const MAX_HOOK_TIME: Duration = Duration::from_secs(60);

/// Requests that one asker may have under way with an encoder: a snapshot, clips and an operator's change fit, and the answers
/// to as many are what an encoder may have to keep for who does not read them.
pub const MAX_REQUESTS: usize = 8;

/// Connections one socket serves at once; the next one is closed at once.
pub const MAX_CONNECTIONS: usize = 64;

/// How often every daemon tells the supervisor what it has done since. Three in a row that are missed are a wedge: with
/// half a second between them a frozen process is found 1.0 to 1.5 s after it froze. Shorter would save little beside the
/// start that follows, and no process waits 1.5 s for a processor, even on a machine with many times more to do
/// than it has processors.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_millis(500);

/// Pause before a lost link to another local process is tried again. Local and cheap, so it does not grow.
pub const RECONNECT_INTERVAL: Duration = Duration::from_millis(100);

/// The longest text that is typed at once, in bytes: a line or two from an input method. A clipboard is for more.
pub const MAX_TEXT: usize = 1 << 10;

/// The longest text of a clipboard, in bytes.
pub const MAX_CLIPBOARD: usize = 64 << 10;
