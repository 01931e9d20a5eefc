//! The transport between Framebridge's processes: Unix sockets in one runtime directory, a frozen handshake, and
//! length-prefixed messages in bincode.
//!
//! Only this crate knows bincode (in `codec`) and Unix sockets (in `socket`). A message's payload does not pass
//! through the codec: its bytes follow the encoded header, and the reader gets them as a slice of its buffer.
//!
//! Malformed, oversized or truncated input ends the connection it came on, with a typed reason, and nothing else.

mod client;
mod codec;
mod fd_store;
mod feed;
mod handshake;
mod http;
mod link;
mod pidfd;
mod place;
mod runtime_dir;
mod socket;

pub use client::{BridgeClient, EncoderClient, RequestError, SupervisorClient};
pub use codec::{DecodeError, EncodeError, Encoded, Message, decode, encode};
pub use fd_store::{BackingStore, FdStore, FdStoreError, MAX_STORED, StoredFd, fetch_fds, store_fds};
pub use feed::FeedListener;
pub use handshake::{HandshakeError, Identity, Peer};
pub use http::{HttpListener, connect_http, has_http_socket};
pub use link::{Link, ReceiveError, Receiver, SendError, Sender};
pub use pidfd::PidFd;
pub use place::Place;
pub use runtime_dir::{RuntimeDir, RuntimeDirError};
pub use socket::{BindError, ConnectError, Incoming, Listener, connect};
