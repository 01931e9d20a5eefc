//! `bridgectl share [STREAM] [--expires 1h] [--control]`, `bridgectl unshare`

use std::io::{self, IsTerminal as _, Write as _};

use anyhow::bail;
use framebridge_proto::bridge::{BridgeAnswer, BridgeRequest};
use qrcodegen::{QrCode, QrCodeEcc};
use serde_json::json;

use crate::{ask, cli, exit::Exit, names, out::Out, units::span};

/// White modules around a QR code, as its standard asks for.
const MARGIN: i32 = 2;

pub(crate) async fn run(asked: cli::Share, out: Out) -> anyhow::Result<Exit> {
    if let Some(stream) = &asked.stream {
        names::stream(&ask::status().await?, stream.as_str())?;
    }
    let opens = describe(&asked);
    let value = json!({ "stream": asked.stream, "control": asked.control, "expires_s": asked.expires });
    let request = BridgeRequest::Share {
        stream: asked.stream,
        control: asked.control,
        expires_s: asked.expires,
    };
    let BridgeAnswer::Shared { url } = ask::bridge(request).await? else {
        bail!(ask::MISMATCH)
    };
    let mut value = value;
    value["url"] = json!(url);
    out.tell(&url, &value)?;
    if !out.json {
        // What is piped is the address alone.
        writeln!(io::stderr(), "{opens}")?;
        qr_code(&url)?;
    }
    Ok(Exit::Ok)
}

/// What whoever has the address may do, and for how long.
fn describe(asked: &cli::Share) -> String {
    let what = match &asked.stream {
        Some(stream) => format!("`{stream}`"),
        None => "all streams".to_owned(),
    };
    let may = if asked.control {
        "watches and changes"
    } else {
        "watches"
    };
    let until = match asked.expires {
        Some(seconds) => format!("for {}, or until", span(seconds)),
        None => "until".to_owned(),
    };
    format!("whoever has this address {may} {what}, {until} `bridgectl unshare`")
}

/// Shows an address to a telephone that is held to the terminal, where there is one.
pub(crate) fn qr_code(url: &str) -> io::Result<()> {
    let mut out = io::stdout();
    if out.is_terminal()
        && let Ok(code) = QrCode::encode_text(url, QrCodeEcc::Low)
    {
        write!(out, "\n{}", draw(&code))?;
    }
    Ok(())
}

/// `bridgectl unshare`
pub(crate) async fn end(out: Out) -> anyhow::Result<Exit> {
    let BridgeAnswer::Unshared { ended } = ask::bridge(BridgeRequest::Unshare).await? else {
        bail!(ask::MISMATCH)
    };
    let what = if ended == 1 { "address" } else { "addresses" };
    out.tell(&format!("{ended} shared {what} ended"), &json!({ "ended": ended }))?;
    Ok(Exit::Ok)
}

/// Two rows of modules per line of text, light ones drawn: terminals are mostly dark.
fn draw(code: &QrCode) -> String {
    let span = || -MARGIN..code.size() + MARGIN;
    let light = |x, y| y < code.size() + MARGIN && !code.get_module(x, y);
    let mut text = String::new();
    for y in span().step_by(2) {
        text.extend(span().map(|x| match (light(x, y), light(x, y + 1)) {
            (true, true) => '█',
            (true, false) => '▀',
            (false, true) => '▄',
            (false, false) => ' ',
        }));
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn share_says_what_it_opens_and_for_how_long() {
        let share = |stream: Option<&str>, expires, control| cli::Share {
            stream: stream.map(|stream| stream.parse().unwrap()),
            expires,
            control,
        };
        assert_eq!(
            describe(&share(None, None, false)),
            "whoever has this address watches all streams, until `bridgectl unshare`"
        );
        assert_eq!(
            describe(&share(Some("desk"), Some(90), true)),
            "whoever has this address watches and changes `desk`, for 1 min 30 s, or until `bridgectl unshare`"
        );
    }

    #[test]
    fn drawing_is_square_with_a_light_margin() {
        let code = QrCode::encode_text("https://studio.example/s/0123", QrCodeEcc::Low).unwrap();
        let drawn = draw(&code);
        let lines: Vec<&str> = drawn.lines().collect();
        let width = usize::try_from(code.size() + 2 * MARGIN).unwrap();
        assert!(lines.iter().all(|line| line.chars().count() == width));
        assert_eq!(lines.len(), width.div_ceil(2));
        assert!(lines[0].chars().all(|module| module == '█'), "{drawn}");
    }
}
