//! Caps and times that both ends keep.

use std::time::Duration;

/// The longest frame either way, bytes: a body chunk in base64 with room for a head of 16 KiB is a quarter of it.
pub const MAX_FRAME: usize = 256 * 1024;

/// The most bytes of a body in one frame.
pub const MAX_CHUNK: usize = 32 * 1024;

/// The longest request body that is carried to a box, bytes: signaling takes no longer one.
pub const MAX_REQUEST_BODY: usize = 64 * 1024;

/// The longest response body that is carried from a box, bytes: a PNG of a 1080p desktop is below 4 MiB.
pub const MAX_RESPONSE_BODY: usize = 8 * 1024 * 1024;

/// Requests that a box answers at once.
pub const RPC_IN_FLIGHT: usize = 8;

/// Requests that may wait at the box for one of those places; past it they are answered 503.
pub const RPC_WAITING: usize = 64;

/// Event streams and films that a box carries besides: they have no end, and would take those places for good.
pub const RPC_STREAMS: usize = 32;

/// Of those, films: each takes as much of the link between box and studio as the stream has, and a third more.
pub const RPC_FILMS: usize = 4;

/// Requests of one box under way at most, of every kind.
pub const RPC_OPEN: usize = RPC_IN_FLIGHT + RPC_WAITING + RPC_STREAMS;

/// How long a box waits for its own server.
pub const LOCAL_TIMEOUT: Duration = Duration::from_secs(25);

/// How long a studio waits for a box: longer, so that the box's own answer comes first.
pub const STUDIO_TIMEOUT: Duration = Duration::from_secs(30);

/// How often a box says how it is, unless the welcome says otherwise.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);

/// Silence after which the link is dead, whatever TCP thinks.
pub const READ_IDLE: Duration = Duration::from_secs(20);

/// How long a box waits for `welcome`, and a studio for `hello`.
pub const GREETING_TIMEOUT: Duration = Duration::from_secs(10);

/// Log lines in one batch: with each at its longest and in need of escapes, they are a frame.
pub const MAX_LOG_BATCH: usize = 100;

/// The longest log line that is sent, bytes; what is beyond is cut.
pub const MAX_LOG_LINE: usize = 1024;

/// Log lines a box keeps while it has no link; past it the oldest go, and are counted.
pub const LOG_BUFFER: usize = 2000;

/// Streams that a box may report.
pub const MAX_STREAMS: usize = 64;

/// The largest upload of a job's bytes: twice the longest clip.
pub const MAX_UPLOAD: u64 = 32 * 1024 * 1024;

/// The largest result that travels in a frame, bytes of JSON.
pub const MAX_INLINE_RESULT: usize = 128 * 1024;

/// The headers of one request or answer, bytes of names and values together: the longest that signaling sends, with some TURN
/// servers, are 2 KB. What is beyond is left out.
pub const MAX_HEADERS: usize = 8 * 1024;

/// The longest sentence for a person, bytes: a reason, a verdict. What is beyond is cut.
pub const MAX_REASON: usize = 300;

/// The longest error of a job, bytes: it names what FFmpeg said.
pub const MAX_ERROR: usize = 500;

/// The longest word, bytes: a state, a codec, a kind of job, a media type, a build.
pub const MAX_WORD: usize = 64;

/// The longest level of a log line, bytes: `error` is the longest there is.
pub const MAX_LEVEL: usize = 8;

/// The most words in a list: codecs, kinds of job, a server's addresses.
pub const MAX_WORDS: usize = 16;

/// The longest address, user name or password, bytes.
pub const MAX_URL: usize = 512;

/// The longest token, bytes: ours have 68.
pub const MAX_TOKEN: usize = 256;

/// The longest path and query that is carried, bytes.
pub const MAX_PATH: usize = 2048;
