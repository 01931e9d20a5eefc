//! The names that every process derives alike.

use crate::{Role, StreamName};

/// The socket file of a process in the runtime directory: `supervisor.sock`, `encoder-<stream>.sock`.
pub fn socket_name(role: Role, stream: Option<&StreamName>) -> String {
    format!("{}.sock", process_name(role, stream))
}

/// The name operators know a process by: `supervisor`, `signaling`, `encoder-<stream>`.
pub fn process_name(role: Role, stream: Option<&StreamName>) -> String {
    match stream {
        Some(stream) => format!("{role}-{stream}"),
        None => role.to_string(),
    }
}
