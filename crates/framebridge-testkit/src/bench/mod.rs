//! The media plane's benches: `fanout`, `scale`, `floor`, `join` and `instructions`, each printed for people or as JSON.

mod cpu;
mod fanout;
mod floor;
mod instructions;
mod join;
mod scale;
pub(crate) mod server;

use std::time::Duration;

use framebridge_rtc::srtp::Profile;
use lexopt::{Arg, Parser, ValueExt as _};
use serde_json::{Value, json};

const USAGE: &str = "\
usage: framebridge-bench fanout|scale|floor|join|instructions [OPTION]...
  --viewers N      viewers of the fan-out (200)
  --bitrate BITS   the stream's bits per second, k and M understood (2.5M)
  --seconds S      how long to measure (10)
  --srtp gcm|sha1  the profile that viewers offer, and the floor's (gcm)
  --plain          viewers tell nothing of when packets come, and take no repeats as a stream of their own
  --url URL        any WHEP endpoint instead of a signaling of our own
  --pid PID        that server's process, to count its CPU time and memory
  --json           print JSON
";

/// What to measure, and how.
#[derive(Debug, Clone)]
struct Arguments {
    viewers: usize,
    bitrate: u64,
    seconds: u64,
    /// What viewers offer, and the floor is measured with.
    profile: Profile,
    /// Whether they offer no transport-wide feedback.
    is_plain: bool,
    url: Option<String>,
    pid: Option<u32>,
    json: bool,
}

/// Measures what the command line says and prints it.
///
/// # Errors
/// The arguments are wrong, or the measurement failed.
#[expect(clippy::print_stdout, reason = "a command-line tool")]
pub fn run() -> anyhow::Result<()> {
    let mut parser = Parser::from_env();
    let Some(name) = parser.next()? else {
        print!("{USAGE}");
        return Ok(());
    };
    let name = match name {
        Arg::Value(name) => name.string()?,
        Arg::Long("help") | Arg::Short('h') => {
            print!("{USAGE}");
            return Ok(());
        }
        other @ (Arg::Short(_) | Arg::Long(_)) => return Err(other.unexpected().into()),
    };
    if name == "walk" {
        let step = parser.value()?.string()?;
        return instructions::walk(&step, parser.value()?.parse()?);
    }
    let arguments = parse(&mut parser)?;
    let result = match name.as_str() {
        "fanout" => fanout::run(&arguments)?,
        "scale" => scale::run(&arguments)?,
        "floor" => floor_alone(&arguments)?,
        "join" => join::run(&arguments)?,
        "instructions" => instructions::run()?,
        other => anyhow::bail!("there is no bench `{other}`\n{USAGE}"),
    };
    if arguments.json {
        println!("{result:#}");
    } else {
        print_lines(&result, "");
    }
    Ok(())
}

fn parse(parser: &mut Parser) -> anyhow::Result<Arguments> {
    let mut arguments = Arguments {
        viewers: 200,
        bitrate: 2_500_000,
        seconds: 10,
        profile: Profile::AeadAes128Gcm,
        is_plain: false,
        url: None,
        pid: None,
        json: false,
    };
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Long("viewers") => arguments.viewers = parser.value()?.parse()?,
            Arg::Long("bitrate") => arguments.bitrate = bits(&parser.value()?.string()?)?,
            Arg::Long("seconds") => arguments.seconds = parser.value()?.parse()?,
            Arg::Long("srtp") => arguments.profile = profile(&parser.value()?.string()?)?,
            Arg::Long("plain") => arguments.is_plain = true,
            Arg::Long("url") => arguments.url = Some(parser.value()?.string()?),
            Arg::Long("pid") => arguments.pid = Some(parser.value()?.parse()?),
            Arg::Long("json") => arguments.json = true,
            other @ (Arg::Short(_) | Arg::Long(_) | Arg::Value(_)) => return Err(other.unexpected().into()),
        }
    }
    anyhow::ensure!(
        arguments.viewers > 0 && arguments.bitrate >= 1000,
        "at least one viewer and 1 kb/s"
    );
    Ok(arguments)
}

/// `2500000`, `2500k` or `2.5M`.
fn bits(text: &str) -> anyhow::Result<u64> {
    let (number, factor) = match text.as_bytes().last() {
        Some(b'k') => (&text[..text.len() - 1], 1e3),
        Some(b'M') => (&text[..text.len() - 1], 1e6),
        _ => (text, 1.0),
    };
    let number: f64 = number.parse()?;
    anyhow::ensure!((0.0..1e12).contains(&(number * factor)), "`{text}` is no bitrate");
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked above")]
    Ok((number * factor) as u64)
}

fn profile(text: &str) -> anyhow::Result<Profile> {
    match text {
        "gcm" => Ok(Profile::AeadAes128Gcm),
        "sha1" => Ok(Profile::Aes128CmSha1),
        _ => anyhow::bail!("`{text}` is no SRTP profile: gcm or sha1"),
    }
}

fn floor_alone(arguments: &Arguments) -> anyhow::Result<Value> {
    let shape = floor::Shape::of(arguments.bitrate, server::FPS);
    let time = Duration::from_secs(arguments.seconds);
    let floor = floor::measure(shape, arguments.viewers, arguments.profile, (time, Duration::ZERO))?;
    Ok(json!({
        "bench": "floor",
        "srtp_profile": format!("{:?}", arguments.profile),
        "viewers": arguments.viewers,
        "payload_bytes": shape.payload,
        "packets_per_message": shape.packets,
        "floor_ns_per_packet": floor.cost,
        "floor_lost": floor.lost,
    }))
}

/// One line per field.
#[expect(clippy::print_stdout, reason = "a command-line tool")]
fn print_lines(value: &Value, prefix: &str) {
    for (name, value) in value.as_object().into_iter().flatten() {
        match value {
            Value::Object(_) => print_lines(value, &format!("{prefix}{name} ")),
            Value::Number(number) if number.is_f64() => {
                println!("{prefix}{name:<28} {:.3}", number.as_f64().unwrap_or_default());
            }
            other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
                println!("{prefix}{name:<28} {other}");
            }
        }
    }
}
