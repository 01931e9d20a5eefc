//! A real Chromium without a screen, and what its pages show.

use std::{
    path::Path,
    process::Stdio,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, anyhow, bail, ensure};
use framebridge_proto::stamp;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    cdp::Connection,
    process::{Process, command},
    wait::{self, PATIENCE},
};

const NAMES: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// So often a page is opened whose network changes just then.
const NAVIGATIONS: u32 = 5;

/// As a person's browser, but for what a machine without a screen, a sandbox or a sound card asks for.
const FLAGS: [&str; 9] = [
    "--headless=new",
    "--remote-debugging-pipe",
    "--no-sandbox",
    "--no-first-run",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--mute-audio",
    "--window-size=1280,800",
];

/// Chromium reads commands on descriptor 3 and answers on 4; a shell moves its standard streams there.
const ON_PIPES: &str = r#"exec "$0" "$@" 3<&0 4>&1 0</dev/null 1>/dev/null 2>&1"#;

/// A browser; it ends when this and all its pages are dropped.
#[derive(Debug, Clone)]
pub struct Browser(Arc<Running>);

#[derive(Debug)]
struct Running {
    connection: Connection,
    // In this order: the browser goes before the profile it writes to.
    _process: Process,
    _profile: TempDir,
}

/// A page in a window of its own, so that none is in the background.
#[derive(Debug)]
pub struct Page {
    browser: Browser,
    session: String,
}

/// A picture as it was shown.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shown {
    /// When it was captured, ms since the Unix epoch: its stamp.
    pub captured_ms: u64,
    /// From capture to presentation, ms.
    pub age_ms: i64,
    /// Of that, the time that decoding took, ms.
    pub decode_ms: f64,
    /// Of that, the time from its last packet's arrival to presentation, decoding included, ms.
    pub since_received_ms: f64,
}

impl Browser {
    /// Starts one with a fresh profile.
    ///
    /// # Errors
    /// None is installed, or it does not start.
    pub fn start() -> anyhow::Result<Self> {
        Self::start_with(None)
    }

    /// [`start`](Self::start), for servers whose key has this digest: whatever else is wrong with their certificates, it goes on.
    ///
    /// # Errors
    /// None is installed, or it does not start.
    pub fn start_trusting(key_digest: &str) -> anyhow::Result<Self> {
        Self::start_with(Some(format!("--ignore-certificate-errors-spki-list={key_digest}")))
    }

    fn start_with(flag: Option<String>) -> anyhow::Result<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let program = std::env::split_paths(&path)
            .flat_map(|folder| NAMES.map(|name| folder.join(name)))
            .find(|program| program.is_file())
            .ok_or_else(|| anyhow!("no Chromium found: install the package `chromium`"))?;
        let profile = tempfile::Builder::new().prefix("framebridge-browser-").tempdir()?;
        let mut chromium = command("sh");
        chromium.args(["-c", ON_PIPES]).arg(program).args(FLAGS);
        chromium
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .args(flag)
            .arg("about:blank");
        chromium
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut process = Process::start_as_is(&mut chromium)?;
        let pipes = process.child().stdin.take().zip(process.child().stdout.take());
        let (to_browser, from_browser) = pipes.ok_or_else(|| anyhow!("the browser's pipes are not there"))?;
        let connection = Connection::new(to_browser, from_browser);
        connection
            .call(None, "Browser.getVersion", json!({}), PATIENCE)
            .context("starting the browser")?;
        Ok(Self(Arc::new(Running {
            connection,
            _process: process,
            _profile: profile,
        })))
    }

    /// Opens a page.
    ///
    /// # Errors
    /// The browser does not answer.
    pub fn open(&self, url: &str) -> anyhow::Result<Page> {
        self.open_scripted(url, "")
    }

    /// [`open`](Self::open), with a script that runs before the page's own.
    ///
    /// # Errors
    /// The browser does not answer.
    pub fn open_scripted(&self, url: &str, script: &str) -> anyhow::Result<Page> {
        let call = |method, params| self.0.connection.call(None, method, params, PATIENCE);
        let target = call(
            "Target.createTarget",
            json!({ "url": "about:blank", "newWindow": true }),
        )?;
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let session = call("Target.attachToTarget", attach)?["sessionId"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let page = Page {
            browser: self.clone(),
            session,
        };
        page.call("Page.enable", json!({}))?;
        page.call(
            "Page.addScriptToEvaluateOnNewDocument",
            json!({ "source": format!("{}\n{script}", include_str!("probe.js")) }),
        )?;
        // A network that has just been made may still change, for which a browser gives up what it loads.
        for _ in 0..NAVIGATIONS {
            let opened = page.call("Page.navigate", json!({ "url": url }))?;
            if opened["errorText"] != "net::ERR_NETWORK_CHANGED" {
                break;
            }
        }
        Ok(page)
    }
}

impl Page {
    fn call(&self, method: &str, params: Value) -> anyhow::Result<Value> {
        self.browser
            .0
            .connection
            .call(Some(&self.session), method, params, PATIENCE)
    }

    /// The value of a JavaScript expression; a promise is awaited.
    ///
    /// # Errors
    /// It throws, or takes too long.
    pub fn evaluate(&self, expression: &str) -> anyhow::Result<Value> {
        let params = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let mut outcome = self.call("Runtime.evaluate", params)?;
        if let Some(thrown) = outcome.get("exceptionDetails") {
            let why = thrown["exception"]["description"].as_str().or(thrown["text"].as_str());
            bail!("{expression}: {}", why.unwrap_or("it threw"));
        }
        Ok(outcome["result"]["value"].take())
    }

    /// Waits until a JavaScript expression, which may `await`, is true, or an element that is there.
    ///
    /// # Errors
    /// It does not get there.
    pub fn until_holds(&self, expression: &str) -> anyhow::Result<()> {
        wait::until_true(expression, PATIENCE, || {
            Ok(self.evaluate(&format!("(async () => Boolean({expression}))()"))? == true)
        })
    }

    /// What the page says of itself in words, e.g. `live`.
    ///
    /// # Errors
    /// The page does not answer.
    pub fn state(&self) -> anyhow::Result<String> {
        let state = self.evaluate("document.querySelector('[data-state]')?.dataset.state ?? ''")?;
        Ok(state.as_str().unwrap_or_default().to_owned())
    }

    /// Waits until the page says it is live, and the decoder's count grows between two looks.
    ///
    /// # Errors
    /// It does not get there.
    pub fn until_live(&self) -> anyhow::Result<()> {
        let mut last = None;
        wait::until_true("the page to be live", PATIENCE, || {
            let (state, decoded) = (self.state()?, self.decoded()?);
            let before = last.replace(decoded);
            ensure!(
                state == "live" && before.is_some_and(|before| decoded > before),
                "`{state}`, {decoded} pictures"
            );
            Ok(true)
        })
    }

    /// Waits until a picture is shown that was captured after `since`.
    ///
    /// # Errors
    /// None is.
    pub fn until_shows_later_than(&self, since: SystemTime) -> anyhow::Result<Shown> {
        let since = u64::try_from(since.duration_since(UNIX_EPOCH)?.as_millis())?;
        wait::until("a fresh picture in the page", PATIENCE, || {
            Ok(self.next_shown(1)?.into_iter().find(|shown| shown.captured_ms > since))
        })
    }

    /// Pictures decoded by the `<video>` that is there now.
    ///
    /// # Errors
    /// The page does not answer.
    pub fn decoded(&self) -> anyhow::Result<u64> {
        Ok(self.evaluate("probe.decoded()")?.as_u64().unwrap_or(0))
    }

    /// How many pictures have come whole by the latest connection, and how often one was so incomplete that a keyframe had
    /// to be asked for. Each picture of ours refers to the one before, so without that none was missing. How late they
    /// came is not told: on a busy machine they do, whatever else happens.
    ///
    /// # Errors
    /// The page does not answer, or has no connection.
    pub fn reception(&self) -> anyhow::Result<(u64, u64)> {
        let inbound = self.evaluate("probe.inbound()")?;
        let trouble = ["pliCount", "firCount"].map(|name| count(&inbound, name));
        let trouble: anyhow::Result<Vec<u64>> = trouble.into_iter().collect();
        Ok((count(&inbound, "framesReceived")?, trouble?.iter().sum()))
    }

    /// How many pictures have been decoded by the latest connection, and how many were dropped instead.
    ///
    /// # Errors
    /// The page does not answer, or has no connection.
    pub fn decoding(&self) -> anyhow::Result<(u64, u64)> {
        let inbound = self.evaluate("probe.inbound()")?;
        Ok((count(&inbound, "framesDecoded")?, count(&inbound, "framesDropped")?))
    }

    /// Pictures decoded per second, over some seconds.
    ///
    /// # Errors
    /// The page does not answer.
    pub fn rate(&self, seconds: u32) -> anyhow::Result<f64> {
        self.evaluate(&format!("probe.rate({seconds})"))?
            .as_f64()
            .ok_or_else(|| anyhow!("the rate is no number"))
    }

    /// The next `count` pictures that are presented, or those that come before a second passes without any; those
    /// without a readable stamp are left out.
    ///
    /// # Errors
    /// The page does not answer.
    pub fn next_shown(&self, count: usize) -> anyhow::Result<Vec<Shown>> {
        let layout = format!("{}, {}, {}", stamp::COLUMNS, stamp::ROWS, stamp::CELLS_PER_WIDTH);
        let frames = self.evaluate(&format!("probe.frames({count}, {layout})"))?;
        Ok(frames.as_array().into_iter().flatten().filter_map(shown).collect())
    }

    /// From now on, notes every picture it shows for [`take_record`](Self::take_record).
    ///
    /// # Errors
    /// The page does not answer.
    pub fn start_recording(&self) -> anyhow::Result<()> {
        let layout = format!("{}, {}, {}", stamp::COLUMNS, stamp::ROWS, stamp::CELLS_PER_WIDTH);
        self.evaluate(&format!("probe.recordStamps({layout})")).map(drop)
    }

    /// Pictures shown since the last time this was asked: when each was shown and when it was captured, ms since the
    /// Unix epoch. Those without a readable stamp are left out.
    ///
    /// # Errors
    /// The page does not answer.
    pub fn take_record(&self) -> anyhow::Result<Vec<(u64, u64)>> {
        let record = self.evaluate("probe.record.splice(0)")?;
        let read = |entry: &Value| {
            let cells = u64::from_str_radix(entry[1].as_str()?, 2).ok()?;
            Some((entry[0].as_u64()?, stamp::time(cells)?))
        };
        Ok(record.as_array().into_iter().flatten().filter_map(read).collect())
    }

    /// The picture shrunk to a few pixels, to be compared with another.
    ///
    /// # Errors
    /// There is no picture.
    pub fn thumbnail(&self) -> anyhow::Result<String> {
        Ok(self
            .evaluate("probe.thumbnail()")?
            .as_str()
            .unwrap_or_default()
            .to_owned())
    }

    /// The paths of the WHEP sessions this page has opened since it was loaded, oldest first.
    ///
    /// # Errors
    /// The page does not answer.
    pub fn sessions(&self) -> anyhow::Result<Vec<String>> {
        let sessions = self.evaluate("probe.sessions.map(session => session.location)")?;
        Ok(sessions
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|path| path.as_str().map(str::to_owned))
            // A line to steer by is made by an offer, too.
            .filter(|path| path.contains("/whep/"))
            .collect())
    }

    /// Saves what the page looks like, as PNG.
    ///
    /// # Errors
    /// The browser can't, or the file can't be written.
    pub fn screenshot(&self, file: &Path) -> anyhow::Result<()> {
        let shot = self.call("Page.captureScreenshot", json!({ "format": "png" }))?;
        let encoded = shot["data"].as_str().unwrap_or_default();
        Ok(std::fs::write(file, decode_base64(encoded)?)?)
    }

    /// Gives the window another size, in pixels.
    ///
    /// # Errors
    /// The browser does not answer.
    pub fn resize(&self, width: u32, height: u32) -> anyhow::Result<()> {
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", metrics).map(drop)
    }

    /// Has the page believe that its viewer prefers `dark` or `light`, and no motion: what is looked at is not on its way.
    ///
    /// # Errors
    /// The browser does not answer.
    pub fn prefer(&self, scheme: &str) -> anyhow::Result<()> {
        let features = json!([
            { "name": "prefers-color-scheme", "value": scheme },
            { "name": "prefers-reduced-motion", "value": "reduce" },
        ]);
        self.call("Emulation.setEmulatedMedia", json!({ "features": features }))
            .map(drop)
    }

    /// Presses a key and lets go of it, as a person does: `f`, `ArrowLeft`, `Tab`.
    ///
    /// # Errors
    /// The browser does not answer.
    pub fn press(&self, key: &str) -> anyhow::Result<()> {
        self.press_with(key, false)
    }

    /// [`press`](Self::press), with Shift held where `shift` says so.
    ///
    /// # Errors
    /// The browser does not answer.
    pub fn press_with(&self, key: &str, shift: bool) -> anyhow::Result<()> {
        let modifiers = if shift { 8 } else { 0 };
        for kind in ["rawKeyDown", "keyUp"] {
            let code = if key == "Tab" { 9 } else { 0 };
            let event = json!({ "type": kind, "key": key, "modifiers": modifiers, "windowsVirtualKeyCode": code });
            self.call("Input.dispatchKeyEvent", event)?;
        }
        Ok(())
    }

    /// Presses and lets go of the left button at a point of the window.
    ///
    /// # Errors
    /// The browser does not answer.
    pub fn click(&self, x: u32, y: u32) -> anyhow::Result<()> {
        for kind in ["mousePressed", "mouseReleased"] {
            let event = json!({ "type": kind, "x": x, "y": y, "button": "left", "clickCount": 1 });
            self.call("Input.dispatchMouseEvent", event)?;
        }
        Ok(())
    }

    /// A key goes down or up. `code` is its place on a keyboard, e.g. `KeyA`, or nothing; `modifiers` are those that are held: 1
    /// Alt, 2 Control, 4 Meta, 8 Shift.
    ///
    /// # Errors
    /// The browser does not answer.
    pub fn key(&self, down: bool, key: &str, code: &str, modifiers: u32) -> anyhow::Result<()> {
        let is_text = key.chars().count() == 1 && modifiers & 7 == 0;
        let kind = match (down, is_text) {
            (true, true) => "keyDown",
            (true, false) => "rawKeyDown",
            (false, _) => "keyUp",
        };
        // Some of what a browser does itself it knows by the old number of the key.
        let number = key
            .chars()
            .next()
            .filter(|_| is_text || modifiers != 0)
            .map_or(0, |letter| u32::from(letter.to_ascii_uppercase()));
        let mut event =
            json!({ "type": kind, "key": key, "code": code, "modifiers": modifiers, "windowsVirtualKeyCode": number });
        if kind == "keyDown" {
            event["text"] = key.into();
        }
        if ["Shift", "Control", "Alt", "Meta"].contains(&key) {
            event["location"] = 1.into();
            event["windowsVirtualKeyCode"] = 0.into();
        }
        self.call("Input.dispatchKeyEvent", event).map(drop)
    }

    /// The pointer does something at a point of the window: `mouseMoved`, `mousePressed`, `mouseReleased`. `clicks` counts those
    /// in a row.
    ///
    /// # Errors
    /// The browser does not answer.
    pub fn mouse(&self, kind: &str, (x, y): (f64, f64), button: &str, clicks: u32) -> anyhow::Result<()> {
        let is_down = kind != "mouseReleased" && button != "none";
        let buttons = match button {
            "left" if is_down => 1,
            "right" if is_down => 2,
            "middle" if is_down => 4,
            _ => 0,
        };
        let event = json!({ "type": kind, "x": x, "y": y, "button": button, "buttons": buttons, "clickCount": clicks });
        self.call("Input.dispatchMouseEvent", event).map(drop)
    }

    /// The wheel turns at a point of the window, by pixels.
    ///
    /// # Errors
    /// The browser does not answer.
    pub fn wheel(&self, (x, y): (f64, f64), (dx, dy): (f64, f64)) -> anyhow::Result<()> {
        let event = json!({ "type": "mouseWheel", "x": x, "y": y, "deltaX": dx, "deltaY": dy });
        self.call("Input.dispatchMouseEvent", event).map(drop)
    }

    /// Fingers do something: `touchStart`, `touchMove`, `touchEnd`; where those are that touch.
    ///
    /// # Errors
    /// The browser does not answer.
    pub fn touch(&self, kind: &str, fingers: &[(f64, f64)]) -> anyhow::Result<()> {
        let points: Vec<Value> = fingers
            .iter()
            .enumerate()
            .map(|(id, (x, y))| json!({ "x": x, "y": y, "id": id }))
            .collect();
        let event = json!({ "type": kind, "touchPoints": points });
        self.call("Input.dispatchTouchEvent", event).map(drop)
    }

    /// What a person reads in the page.
    ///
    /// # Errors
    /// The page does not answer.
    pub fn text(&self) -> anyhow::Result<String> {
        let text = self.evaluate("document.body.innerText")?;
        Ok(text.as_str().unwrap_or_default().to_owned())
    }

    /// Waits until a person reads these words in the page, in whatever case.
    ///
    /// # Errors
    /// They do not appear.
    pub fn until_reads(&self, words: &str) -> anyhow::Result<()> {
        let words = json!(words.to_lowercase());
        self.until_holds(&format!("document.body.innerText.toLowerCase().includes({words})"))
    }

    /// Closes the page, as a person does.
    ///
    /// # Errors
    /// The browser does not answer.
    pub fn close(self) -> anyhow::Result<()> {
        self.call("Page.close", json!({})).map(drop)
    }
}

fn count(of: &Value, name: &str) -> anyhow::Result<u64> {
    of[name].as_u64().with_context(|| format!("no {name} in {of}"))
}

fn shown(frame: &Value) -> Option<Shown> {
    let cells = u64::from_str_radix(frame["cells"].as_str()?, 2).ok()?;
    let captured_ms = stamp::time(cells)?;
    Some(Shown {
        captured_ms,
        age_ms: frame["at"].as_i64()? - i64::try_from(captured_ms).ok()?,
        decode_ms: frame["decode"].as_f64()?,
        since_received_ms: frame["since_received"].as_f64()?,
    })
}

/// Standard base64, as the browser sends images.
fn decode_base64(text: &str) -> anyhow::Result<Vec<u8>> {
    let sextet = |byte: u8| match byte {
        b'A'..=b'Z' => Ok(byte - b'A'),
        b'a'..=b'z' => Ok(byte - b'a' + 26),
        b'0'..=b'9' => Ok(byte - b'0' + 52),
        b'+' => Ok(62),
        b'/' => Ok(63),
        _ => Err(anyhow!("not base64")),
    };
    let sextets = text
        .trim_end_matches('=')
        .bytes()
        .map(sextet)
        .collect::<anyhow::Result<Vec<u8>>>()?;
    let bytes = sextets.chunks(4).flat_map(|chunk| {
        let bits = chunk.iter().fold(0, |bits, sextet| bits << 6 | u32::from(*sextet)) << (6 * (4 - chunk.len()));
        let [_, bytes @ ..] = bits.to_be_bytes();
        bytes.into_iter().take(chunk.len() * 6 / 8)
    });
    Ok(bytes.collect())
}
