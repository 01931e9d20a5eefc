//! Whether a WHEP server does what the draft says (draft-ietf-wish-whep), statement by statement, as a player sees it.

mod answers;
mod events;
mod report;
mod session;
mod statements;

use lexopt::{Arg, Parser, ValueExt as _};

use crate::bench::server;
use report::Report;
use session::Server;

/// Of the stream that our own signaling is given, bits per second.
const BITRATE: u64 = 1_000_000;

const USAGE: &str = "\
usage: framebridge-conformance [OPTION]...
  --url URL      any WHEP endpoint, by http://, instead of a signaling of our own
  --token TOKEN  sent as `Authorization: Bearer TOKEN`
  --json         print JSON
";

/// Asks the server that the command line names and prints what came of it. False: it does not do all that it must.
///
/// # Errors
/// The arguments are wrong, or nobody answers.
#[expect(clippy::print_stdout, reason = "a command-line tool")]
pub fn run() -> anyhow::Result<bool> {
    let (mut url, mut token, mut json) = (None, None, false);
    let mut parser = Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Long("url") => url = Some(parser.value()?.string()?),
            Arg::Long("token") => token = Some(parser.value()?.string()?),
            Arg::Long("json") => json = true,
            Arg::Long("help") | Arg::Short('h') => {
                print!("{USAGE}");
                return Ok(true);
            }
            other @ (Arg::Short(_) | Arg::Long(_) | Arg::Value(_)) => return Err(other.unexpected().into()),
        }
    }
    let own = if url.is_none() {
        Some(server::Server::start(BITRATE)?)
    } else {
        None
    };
    let url = url
        .or_else(|| own.as_ref().map(|own| own.url.clone()))
        .unwrap_or_default();
    let report = check(&Server::new(url, token))?;
    drop(own);
    if json {
        println!("{:#}", report.to_json());
    } else {
        print!("{report}");
    }
    Ok(report.is_conformant())
}

/// Asks everything.
///
/// # Errors
/// Nobody answers.
fn check(server: &Server) -> anyhow::Result<Report> {
    let mut report = Report::new(server.url());
    statements::endpoint(server, &mut report)?;
    statements::refusals(server, &mut report)?;
    statements::answer(server, &mut report)?;
    statements::bundled_answer(server, &mut report)?;
    statements::trickle(server, &mut report)?;
    statements::restart(server, &mut report)?;
    statements::end(server, &mut report)?;
    events::events(server, &mut report)?;
    statements::media(server, &mut report)?;
    statements::authorization(server, &mut report)?;
    Ok(report)
}
