//! What a page and this process say to each other on a line: JSON texts, as `docs/protocol.md` has them.

use framebridge_core::control::intake::Stamp;
use framebridge_proto::{
    control::{Act, Place},
    limits::{MAX_CLIPBOARD, MAX_TEXT},
};
use framebridge_rtc::Lane;
use serde::{Deserialize, Serialize};

/// The version of these messages.
pub(crate) const VERSION: u32 = 1;

/// The longest name that a page may give itself, in bytes.
const MAX_PAGE: usize = 40;

/// What a page says. With what is an act come the message's number and the page's clock in milliseconds.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Said {
    /// First of all: its version, and which page it is.
    Hello(u32, String),
    /// It wants to steer.
    Ask,
    /// It does not want to any more.
    Give,
    /// Whether who asks may.
    Answer(bool),
    /// It is there, and holds what it holds; its clock, to be sent back.
    Alive(u32),
    Move(u32, u32, u16, u16),
    Button(u32, u32, u8, bool, u16, u16),
    Wheel(u32, u32, i8, i8, u16, u16),
    Key(u32, u32, u32, bool),
    Text(u32, u32, String),
    Clipboard(u32, u32, String),
}

/// What a page means.
#[derive(Debug, PartialEq)]
pub(crate) enum Meant {
    Hello(u32, String),
    Ask,
    Give,
    Answer(bool),
    Alive(u32),
    Act(Stamp, Act),
}

/// What is said to a page.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Say {
    /// Who steers, whenever that changes.
    State {
        /// Whether it is you.
        you: bool,
        /// Who it is; null: nobody.
        controller: Option<String>,
        /// Who asks for it: where it is you who steers, that is for you to answer.
        asker: Option<String>,
    },
    /// The answer to `alive`.
    Pong(u32),
    /// You may not, for now.
    Refused,
    /// What you held was let go.
    Released(String),
    /// Something was not done.
    Failed(String),
    /// Your term is over.
    Ended(String),
    /// Somebody has copied this on the desktop.
    Clipboard(String),
}

impl Say {
    /// The way it goes. An answer that is lost must not hold up the next one, or the page takes its line for dead.
    pub(crate) fn lane(&self) -> Lane {
        match self {
            Self::Pong(_) => Lane::Lossy,
            Self::State { .. }
            | Self::Refused
            | Self::Released(_)
            | Self::Failed(_)
            | Self::Ended(_)
            | Self::Clipboard(_) => Lane::Reliable,
        }
    }

    pub(crate) fn text(&self) -> String {
        // What it is made of can be written.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Reads a message; `None`: it is none.
pub(crate) fn read(message: &[u8]) -> Option<Meant> {
    let said: Said = serde_json::from_slice(message).ok()?;
    let act = |sequence, made_ms, act| Meant::Act(Stamp { sequence, made_ms }, act);
    Some(match said {
        Said::Hello(version, page) if page.len() <= MAX_PAGE => Meant::Hello(version, page),
        Said::Ask => Meant::Ask,
        Said::Give => Meant::Give,
        Said::Answer(may) => Meant::Answer(may),
        Said::Alive(clock) => Meant::Alive(clock),
        Said::Move(sequence, made, x, y) => act(sequence, made, Act::Move(Place { x, y })),
        Said::Button(sequence, made, button, down, x, y) => {
            let at = Place { x, y };
            act(sequence, made, Act::Button { button, down, at })
        }
        Said::Wheel(sequence, made, dx, dy, x, y) => {
            let at = Place { x, y };
            act(sequence, made, Act::Wheel { dx, dy, at })
        }
        Said::Key(sequence, made, keysym, down) => act(sequence, made, Act::Key { keysym, down }),
        Said::Text(sequence, made, text) if text.len() <= MAX_TEXT => act(sequence, made, Act::Text(text)),
        Said::Clipboard(sequence, made, text) if text.len() <= MAX_CLIPBOARD => {
            act(sequence, made, Act::Clipboard(text))
        }
        Said::Hello(..) | Said::Text(..) | Said::Clipboard(..) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_a_page_are_read_as_the_protocol_has_them() {
        let stamp = Stamp {
            sequence: 7,
            made_ms: 1234,
        };
        let at = Place { x: 1, y: 65_535 };
        for (text, meant) in [
            (r#"{"hello":[1,"x"]}"#, Meant::Hello(1, "x".to_owned())),
            (r#""ask""#, Meant::Ask),
            (r#""give""#, Meant::Give),
            (r#"{"answer":true}"#, Meant::Answer(true)),
            (r#"{"alive":1234}"#, Meant::Alive(1234)),
            (r#"{"move":[7,1234,1,65535]}"#, Meant::Act(stamp, Act::Move(at))),
            (
                r#"{"button":[7,1234,3,true,1,65535]}"#,
                Meant::Act(
                    stamp,
                    Act::Button {
                        button: 3,
                        down: true,
                        at,
                    },
                ),
            ),
            (
                r#"{"wheel":[7,1234,0,-3,1,65535]}"#,
                Meant::Act(stamp, Act::Wheel { dx: 0, dy: -3, at }),
            ),
            (
                r#"{"key":[7,1234,97,false]}"#,
                Meant::Act(
                    stamp,
                    Act::Key {
                        keysym: 97,
                        down: false,
                    },
                ),
            ),
            (r#"{"text":[7,1234,"é"]}"#, Meant::Act(stamp, Act::Text("é".to_owned()))),
            (
                r#"{"clipboard":[7,1234,""]}"#,
                Meant::Act(stamp, Act::Clipboard(String::new())),
            ),
        ] {
            assert_eq!(read(text.as_bytes()), Some(meant), "{text}");
        }
        let long = format!(r#"{{"text":[7,1,"{}"]}}"#, "x".repeat(MAX_TEXT + 1));
        for bad in [
            "",
            "{}",
            "ask",
            r#"{"move":[7,1234,1,65536]}"#,
            r#"{"move":[7,1234,1]}"#,
            r#"{"key":[7,1,-1,true]}"#,
            &long,
        ] {
            assert_eq!(read(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn messages_to_a_page_are_written_as_the_protocol_has_them() {
        let state = Say::State {
            you: true,
            controller: Some("token ada".to_owned()),
            asker: None,
        };
        for (say, text) in [
            (state, r#"{"state":{"you":true,"controller":"token ada","asker":null}}"#),
            (Say::Pong(9), r#"{"pong":9}"#),
            (Say::Refused, r#""refused""#),
            (Say::Released("x".to_owned()), r#"{"released":"x"}"#),
            (Say::Failed("x".to_owned()), r#"{"failed":"x"}"#),
            (Say::Ended("x".to_owned()), r#"{"ended":"x"}"#),
            (Say::Clipboard("x".to_owned()), r#"{"clipboard":"x"}"#),
        ] {
            assert_eq!(say.text(), text);
        }
    }
}
