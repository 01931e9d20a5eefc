//! What the end-to-end tests and the measurements stand on: the real binaries in a directory and on ports of their own,
//! a real browser, a real display, and bounded waits on what can be seen from outside.
//!
//! Nothing here looks inside a process of Framebridge. Whatever is started is killed when its owner is dropped.

pub mod attack;
pub mod axe;
pub mod browser;
pub mod camera;
mod cdp;
pub mod chaos;
pub mod disk;
pub mod display;
pub mod firefox;
pub mod http;
pub mod internet;
pub mod interruption;
pub mod machine;
pub mod moving;
pub mod no_udp;
pub mod node;
pub mod onvif;
pub mod player;
pub mod process;
pub mod publisher;
pub mod python;
pub mod reactor;
pub mod recorder;
pub mod sample;
pub mod services;
pub mod shaped;
pub mod soak;
pub mod stress;
pub mod studio;
pub mod subscriber;
pub mod system;
mod table;
pub mod terminal;
mod visitors;
pub mod wait;
