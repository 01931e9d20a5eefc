//! `encoder --probe`: what FFmpeg and which encoders this machine has, for `bridgectl doctor`.

use std::{
    fs,
    io::{self, Write as _},
    thread,
    time::{Duration, Instant},
};

use framebridge_capture::{
    Came, Codec, EncodeError, EncodedFrame, Interrupt, NETWORK_OPEN_LIMIT, Picture, Source, SourceConfig, SourceError,
    confine, ffmpeg_version, image, lacks, last_picture, probe, terminate,
};
use framebridge_config::{Source as Location, SourceTls};
use framebridge_core::as_it_comes::{AsItComes, Obstacle, Wish, by_its_word, format_name};
use framebridge_proto::{
    encoder::{ImageFormat, Quality},
    plain,
    probe::{Finding, Verdict},
};

/// How long a source has, from its opening to its first picture.
const SOURCE_LIMIT: Duration = Duration::from_secs(20);

/// A source that could be sent on as it comes is looked at for so long, or for so many pictures.
const LOOK: Duration = Duration::from_millis(1500);
const MOST_LOOKED_AT: usize = 50;

/// A source that gives so many pictures meanwhile is not as slow as it says.
const MANY: usize = 5;

/// A line of an error is cut here.
const MOST_WORDS: usize = 500;

/// Looks, and prints one finding a line, as JSON.
///
/// # Errors
/// Nobody reads them.
pub fn print_findings() -> io::Result<()> {
    print(findings())
}

/// Opens the source whose URL is the line on standard input, and prints what it is in the same way. A source that hangs ends the
/// process.
///
/// # Errors
/// Nobody reads them.
pub fn print_source() -> io::Result<()> {
    let mut url = String::new();
    io::stdin().read_line(&mut url)?;
    let interrupt = Interrupt::new();
    let watchdog = interrupt.clone();
    thread::spawn(move || {
        if watchdog.wait_until(Instant::now() + SOURCE_LIMIT) {
            let told = format!("it has not given a picture for {} s", SOURCE_LIMIT.as_secs());
            // Nobody who reads it: then it is done.
            _ = print([Finding::new("source", Verdict::Bad, told)]);
            terminate(0);
        }
    });
    let findings = match url.trim().parse() {
        Ok(location) => source(location, &interrupt),
        Err(error) => vec![Finding::new(
            "source",
            Verdict::Bad,
            plain(&format!("{error}"), MOST_WORDS),
        )],
    };
    interrupt.stop();
    print(findings)
}

fn print(findings: impl IntoIterator<Item = Finding>) -> io::Result<()> {
    let mut out = io::stdout();
    for finding in findings {
        writeln!(out, "{}", serde_json::to_string(&finding)?)?;
    }
    Ok(())
}

/// What a source is.
fn source(location: Location, interrupt: &Interrupt) -> Vec<Finding> {
    let shown = location.to_string();
    let bad = |detail: String| vec![Finding::new("source", Verdict::Bad, plain(&detail, MOST_WORDS))];
    if let Some(lacking) = lacks(&location) {
        return bad(format!("{shown}: this machine's FFmpeg was built without `{lacking}`"));
    }
    // It is only looked at: where the kernel knows no filters it is looked at without.
    _ = confine(&location);
    match look(location, interrupt) {
        Ok(found) => std::iter::once(Finding::new("source", Verdict::Good, shown))
            .chain(found)
            .collect(),
        Err(error) => bad(format!("{shown}: {:#}", anyhow::Error::new(error))),
    }
}

fn look(location: Location, interrupt: &Interrupt) -> Result<Vec<Finding>, SourceError> {
    let config = SourceConfig {
        location,
        fps: 30,
        longest_edge: 1280,
        silence_limit: NETWORK_OPEN_LIMIT,
        tls: SourceTls::default(),
        feed: None,
    };
    let began = Instant::now();
    let mut source = Source::open(&config, interrupt)?;
    let opened = began.elapsed();
    let Seen { picture, first, way } = seen(&mut source, began)?;
    let times = format!(
        "open after {:.2} s, first picture after {:.2} s",
        opened.as_secs_f32(),
        first.as_secs_f32()
    );
    let mut found = vec![Finding::new("opening", Verdict::Good, times)];
    let known = source.findings(&picture).into_iter();
    found.extend(known.map(|(what, is)| Finding::new(what, Verdict::Good, is)));
    found.push(Finding::new("as it comes", Verdict::Good, way));
    let path = std::env::temp_dir().join(format!("framebridge-doctor-{}.png", std::process::id()));
    let written = image(&picture, ImageFormat::Png, *Quality::LONGEST_EDGE.end())
        .map_err(|error| format!("{:#}", anyhow::Error::new(error)))
        .and_then(|png| fs::write(&path, png).map_err(|error| error.to_string()));
    found.push(match written {
        Ok(()) => Finding::new("picture", Verdict::Good, path.display().to_string()),
        Err(error) => Finding::new("picture", Verdict::Bad, error),
    });
    Ok(found)
}

/// What was seen of a source.
struct Seen {
    picture: Picture,
    /// How long the first picture took.
    first: Duration,
    /// Whether it would be sent on as it comes.
    way: String,
}

fn seen(source: &mut Source, began: Instant) -> Result<Seen, SourceError> {
    let mut copy = AsItComes::new(Wish {
        allowed: true,
        demanded: true,
        ..Wish::default()
    });
    copy.opened(source.obstacle());
    let mut group: Vec<EncodedFrame> = Vec::new();
    let mut first = None;
    let looked = Instant::now();
    loop {
        let came = source.come(&|| (), &mut copy)?;
        let first = *first.get_or_insert_with(|| began.elapsed());
        match came {
            Came::Picture(undue) => {
                let picture = source.present(undue)?;
                let obstacle = copy.obstacle();
                let why = obstacle.map_or_else(
                    || "it does not begin with a keyframe".to_owned(),
                    |obstacle| obstacle.to_string(),
                );
                let way = format!("no: {why}");
                return Ok(Seen { picture, first, way });
            }
            Came::Coded(unit) => {
                let frame = source.pass_on(unit)?;
                if frame.keyframe {
                    group.clear();
                }
                group.push(frame);
            }
        }
        // What is against it mostly shows in the first pictures.
        let is_enough =
            group.len() >= MOST_LOOKED_AT || looked.elapsed() >= LOOK || began.elapsed() >= SOURCE_LIMIT / 2;
        let is_contradicted = |obstacle: &Obstacle| *obstacle == Obstacle::Slow && group.len() >= MANY;
        let said = source.interval().and_then(by_its_word);
        let against = said.filter(|obstacle| !is_contradicted(obstacle));
        let way = source.sps().map(|sps| match &against {
            Some(obstacle) => format!("no: {obstacle}"),
            None => format!("yes: {}", format_name(sps.profile_level_id)),
        });
        if is_enough && let (Ok(Some(picture)), Some(way)) = (last_picture(&group), way) {
            return Ok(Seen { picture, first, way });
        }
    }
}

fn findings() -> impl Iterator<Item = Finding> {
    let ffmpeg = Finding::new("ffmpeg", Verdict::Good, ffmpeg_version());
    let software = std::iter::once((Codec::X264, Verdict::Bad));
    let hardware = Codec::HARDWARE.map(|codec| (codec, Verdict::Absent));
    let encoders = software.chain(hardware).map(|(codec, otherwise)| match probe(codec) {
        Ok(()) => Finding::new(codec.ffmpeg_name(), Verdict::Good, "encodes"),
        Err(error) => Finding::new(codec.ffmpeg_name(), otherwise, refusal(error, otherwise)),
    });
    std::iter::once(ffmpeg).chain(encoders)
}

/// Why an encoder does not encode: the reason alone where most machines have no such device.
fn refusal(error: EncodeError, verdict: Verdict) -> String {
    if let EncodeError::Open { source, .. } = &error
        && verdict == Verdict::Absent
    {
        return format!("not on this machine: {source}");
    }
    format!("{:#}", anyhow::Error::new(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn software_encodes_everywhere() {
        let x264 = findings().find(|finding| finding.what == "libx264").unwrap();
        assert_eq!(x264.verdict, Verdict::Good, "{}", x264.detail);
    }
}
