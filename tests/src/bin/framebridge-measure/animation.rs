//! A short film of the page while its processes are killed, as README.md shows it.

use std::{
    fmt::Write as _,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::ensure;
use clap::Args;
use framebridge_tests::{
    browser::{Browser, Page},
    process::{command, signal},
    system::System,
    wait,
};
use rustix::process::Signal;

/// What to film.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The file to write, as animated WebP
    #[arg(long, default_value = "docs/kill.webp")]
    output: PathBuf,
}

/// How large the page is, and the film.
const SIZE: (u32, u32) = (640, 400);
const WIDTH: u32 = 400;

const FPS: u32 = 8;
const LENGTH: Duration = Duration::from_secs(7);

/// When which process is killed.
const KILLS: [(Duration, &str); 2] = [
    (Duration::from_millis(1500), "signaling"),
    (Duration::from_millis(4000), "encoder-test"),
];

/// How long it is said that one was killed.
const CAPTION: Duration = Duration::from_millis(1500);

/// Writes the words over the page, or takes them away.
const SAY: &str = "(words) => {
    const said = document.getElementById('said') ?? document.body.appendChild(Object.assign(document.createElement('p'), { id: 'said' }));
    said.style.cssText = 'position:fixed;z-index:9;left:0;right:0;bottom:18px;margin:0;text-align:center;font:600 22px monospace;color:#fff;text-shadow:0 0 6px #000,0 0 3px #000';
    said.textContent = words;
}";

/// Starts a system, watches it, kills its processes, and writes the film of that.
pub(crate) fn film(options: &Options) -> anyhow::Result<()> {
    let system = System::start(&[("test", "test:")])?;
    let page = Browser::start()?.open(&system.url("/s/test?controls=0"))?;
    page.resize(SIZE.0, SIZE.1)?;
    page.until_live()?;
    let folder = system.scratch().join("film");
    fs::create_dir(&folder)?;
    let list = shoot(&system, &page, &folder)?;
    let list_file = folder.join("list.txt");
    fs::write(&list_file, list)?;
    let filter = format!("fps={FPS},scale={WIDTH}:-2:flags=area");
    let written = command("ffmpeg")
        .args(["-v", "error", "-y", "-f", "concat", "-safe", "0", "-i"])
        .arg(&list_file)
        .args(["-vf", &filter, "-c:v", "libwebp_anim", "-loop", "0", "-q:v", "50"])
        .arg(&options.output)
        .status()?;
    ensure!(written.success(), "ffmpeg did not write {}", options.output.display());
    let size = fs::metadata(&options.output)?.len() / 1000;
    writeln!(io::stdout(), "{}: {size} KB", options.output.display())?;
    Ok(())
}

/// Takes the pictures; what comes of it is the list of them that FFmpeg reads, with the time that each is shown.
fn shoot(system: &System, page: &Page, folder: &Path) -> anyhow::Result<String> {
    let say = |words: &str| page.evaluate(&format!("({SAY})({words:?})"));
    let started = Instant::now();
    let mut kills = KILLS.into_iter().peekable();
    let mut said: Option<Duration> = None;
    let (mut list, mut shot_at) = (String::new(), None);
    for number in 0.. {
        let now = started.elapsed();
        if now > LENGTH {
            break;
        }
        if said.is_some_and(|since| now > since + CAPTION) {
            say("")?;
            said = None;
        }
        if let Some((_, process)) = kills.next_if(|(at, _)| now > *at) {
            signal(system.pid(process)?, Signal::KILL)?;
            say(&format!("$ kill -9 {process}"))?;
            said = Some(now);
        }
        if let Some(before) = shot_at.replace(now) {
            writeln!(list, "duration {:.3}", (now - before).as_secs_f64())?;
        }
        let file = folder.join(format!("{number}.png"));
        page.screenshot(&file)?;
        writeln!(list, "file '{}'", file.display())?;
        let next = now + Duration::from_secs(1) / FPS;
        wait::pause(next.saturating_sub(started.elapsed()))?;
    }
    Ok(list)
}
