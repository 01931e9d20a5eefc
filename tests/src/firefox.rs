//! A real Firefox without a screen, driven by its Marionette: JSON messages over TCP, each preceded by its length.

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Ipv4Addr, TcpStream},
    path::Path,
    sync::{Mutex, PoisonError},
};

use anyhow::{Context as _, anyhow, bail, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    process::{Process, command},
    wait::{self, PATIENCE},
};

/// Nothing is asked of anybody but the server under test; above all not for Cisco's plugin, which would come in the middle of a test.
/// Candidates of this machine's own, so that no network is needed.
const PREFERENCES: &str = r#"
user_pref("marionette.port", 0);
user_pref("app.update.enabled", false);
user_pref("browser.startup.page", 0);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("media.gmp-manager.updateEnabled", false);
user_pref("media.gmp-manager.url", "http://127.0.0.1:9/");
user_pref("media.gmp-manager.url.override", "http://127.0.0.1:9/");
user_pref("network.captive-portal-service.enabled", false);
user_pref("network.connectivity-service.enabled", false);
user_pref("services.settings.server", "http://127.0.0.1:9/");
user_pref("media.peerconnection.ice.loopback", true);
"#;

/// Debian's.
const PROGRAM: &str = "firefox-esr";

/// The plugin by which Firefox has H.264 in WebRTC, as it stands in a profile.
const PLUGIN: &str = "gmp-gmpopenh264";
const PLUGIN_FILES: [&str; 2] = ["libgmpopenh264.so", "gmpopenh264.info"];

/// What its console has in red, of the pages at an address.
const ERRORS: &str = "return Services.console.getMessageArray().filter((it) => it instanceof Ci.nsIScriptError
        && !(it.flags & Ci.nsIScriptError.warningFlag) && it.sourceName.startsWith(arguments[0]))
    .map((it) => `${it.sourceName}:${it.lineNumber}: ${it.errorMessage}`).join('\\n')";

/// A browser with one page; it ends when this is dropped.
#[derive(Debug)]
pub struct Firefox {
    link: Mutex<Link>,
    // In this order: the browser goes before the profile it writes to.
    _process: Process,
    _profile: TempDir,
}

#[derive(Debug)]
struct Link {
    stream: BufReader<TcpStream>,
    next: u64,
}

impl Firefox {
    /// Starts one with a fresh profile, as it is before it has fetched anything: without H.264 in WebRTC.
    ///
    /// # Errors
    /// None is installed, or it does not start.
    pub fn start() -> anyhow::Result<Self> {
        Self::start_in(tempfile::Builder::new().prefix("framebridge-firefox-").tempdir()?)
    }

    /// [`start`](Self::start), with the plugin that a folder holds, as its maker's build leaves it.
    ///
    /// # Errors
    /// It is not there; none is installed, or it does not start.
    pub fn start_with_h264(plugin: &Path) -> anyhow::Result<Self> {
        let profile = tempfile::Builder::new().prefix("framebridge-firefox-").tempdir()?;
        let info = fs::read_to_string(plugin.join(PLUGIN_FILES[1])).context("the plugin's description")?;
        let version = info
            .lines()
            .find_map(|line| line.strip_prefix("Version: "))
            .ok_or_else(|| anyhow!("the plugin has no version"))?
            .trim();
        let folder = profile.path().join(PLUGIN).join(version);
        fs::create_dir_all(&folder)?;
        for file in PLUGIN_FILES {
            fs::copy(plugin.join(file), folder.join(file)).with_context(|| format!("the plugin's {file}"))?;
        }
        let set = |name: &str, value: &str| format!("user_pref(\"media.{PLUGIN}.{name}\", {value});\n");
        let preferences = [
            set("version", &format!("{version:?}")),
            set("abi", "\"x86_64-gcc3\""),
            set("enabled", "true"),
            set("lastUpdate", "1"),
        ];
        fs::write(profile.path().join("user.js"), preferences.concat())?;
        Self::start_in(profile)
    }

    /// Whether there is one here.
    pub fn is_installed() -> bool {
        let path = env::var_os("PATH").unwrap_or_default();
        env::split_paths(&path).any(|folder| folder.join(PROGRAM).is_file())
    }

    fn start_in(profile: TempDir) -> anyhow::Result<Self> {
        let mut preferences = fs::File::options()
            .create(true)
            .append(true)
            .open(profile.path().join("user.js"))?;
        preferences.write_all(PREFERENCES.as_bytes())?;
        let mut firefox = command(PROGRAM);
        firefox
            .args([
                "--headless",
                "--no-remote",
                "--marionette",
                "--remote-allow-system-access",
            ])
            .arg("--profile")
            .arg(profile.path())
            .arg("about:blank")
            // Nothing of whoever runs the tests; and no sandbox, which not every container lets it make.
            .env("HOME", profile.path())
            .env("MOZ_DISABLE_CONTENT_SANDBOX", "1");
        let process = Process::start(&mut firefox, &profile.path().join("log"))
            .context("no Firefox found: install the package `firefox-esr`")?;
        let told = profile.path().join("MarionetteActivePort");
        let stream = wait::until("Firefox to listen", PATIENCE, || {
            let port = fs::read_to_string(&told)?.trim().parse::<u16>()?;
            Ok(Some(TcpStream::connect((Ipv4Addr::LOCALHOST, port))?))
        })?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut link = Link {
            stream: BufReader::new(stream),
            next: 1,
        };
        let hello = link.read()?;
        ensure!(hello["marionetteProtocol"] == 3, "{hello}");
        link.call("WebDriver:NewSession", &json!({}))?;
        Ok(Self {
            link: Mutex::new(link),
            _process: process,
            _profile: profile,
        })
    }

    fn call(&self, command: &str, parameters: &Value) -> anyhow::Result<Value> {
        let mut link = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        link.call(command, parameters)
    }

    /// Opens an address, and waits until it has loaded.
    ///
    /// # Errors
    /// The browser can't.
    pub fn open(&self, url: &str) -> anyhow::Result<()> {
        self.call("WebDriver:Navigate", &json!({ "url": url })).map(drop)
    }

    /// The value of a JavaScript expression in the page; a promise is awaited.
    ///
    /// # Errors
    /// It throws, or takes too long.
    pub fn evaluate(&self, expression: &str) -> anyhow::Result<Value> {
        let script = format!(
            "const [done] = arguments; (async () => ({expression}))().then((value) => done({{ value }}), (error) => done({{ error: String(error) }}))"
        );
        let parameters = json!({ "script": script, "args": [], "sandbox": null });
        let mut outcome = self.call("WebDriver:ExecuteAsyncScript", &parameters)?;
        if let Some(error) = outcome["value"]["error"].as_str() {
            bail!("{expression}: {error}");
        }
        Ok(outcome["value"]["value"].take())
    }

    /// Waits until a JavaScript expression is true.
    ///
    /// # Errors
    /// It does not get there.
    pub fn until_holds(&self, expression: &str) -> anyhow::Result<()> {
        wait::until_true(expression, PATIENCE, || {
            Ok(self.evaluate(&format!("Boolean({expression})"))? == true)
        })
    }

    /// What a person reads in the page.
    ///
    /// # Errors
    /// The page does not answer.
    pub fn text(&self) -> anyhow::Result<String> {
        let text = self.evaluate("document.body.innerText")?;
        Ok(text.as_str().unwrap_or_default().to_owned())
    }

    /// What the console has had in red of pages at `address` since the browser was started.
    ///
    /// # Errors
    /// The browser does not answer.
    pub fn errors(&self, address: &str) -> anyhow::Result<String> {
        self.call("Marionette:SetContext", &json!({ "value": "chrome" }))?;
        let told = self.call(
            "WebDriver:ExecuteScript",
            &json!({ "script": ERRORS, "args": [address] }),
        );
        self.call("Marionette:SetContext", &json!({ "value": "content" }))?;
        Ok(told?["value"].as_str().unwrap_or_default().to_owned())
    }
}

impl Link {
    fn call(&mut self, command: &str, parameters: &Value) -> anyhow::Result<Value> {
        let id = self.next;
        self.next += 1;
        let message = json!([0, id, command, parameters]).to_string();
        self.stream
            .get_mut()
            .write_all(format!("{}:{message}", message.len()).as_bytes())?;
        let mut answer = self.read()?;
        ensure!(answer[1] == id, "{command}: {answer}");
        ensure!(answer[2].is_null(), "{command}: {}", answer[2]);
        Ok(answer[3].take())
    }

    fn read(&mut self) -> anyhow::Result<Value> {
        let mut length = Vec::new();
        self.stream.read_until(b':', &mut length)?;
        ensure!(length.pop() == Some(b':'), "the browser is gone");
        let mut message = vec![0; std::str::from_utf8(&length)?.parse()?];
        self.stream.read_exact(&mut message)?;
        Ok(serde_json::from_slice(&message)?)
    }
}
