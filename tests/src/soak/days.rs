//! What an operator does in a day, and what a day does by itself, in the time that the soak gives it.

use std::{
    fs::{self, File},
    io::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Output,
    time::Duration,
};

use anyhow::{Context as _, ensure};

use crate::{
    chaos::stage::Stage,
    http::{Request, Response},
    process::command,
    services::Service,
    studio::Studio,
    system::binary,
    wait::{self, PATIENCE},
};

/// By so much the clock goes on in a day of the soak. The monotonic clock does not: what counts in that has tests of its own.
pub(super) const DAY: Duration = Duration::from_secs(24 * 3600);

/// A day adds so much to the journal, as one of a camera on a bad network does. It is turned over after eleven of them.
const DIARY: u64 = 96 << 10;

/// Where the journal is, in the runtime directory.
const JOURNAL: &str = "journal.jsonl";

/// What the box says of its certificate.
const EXPIRY: &str = "framebridge_tls_certificate_expiry_timestamp_seconds";

/// What the box is told of its operators: everybody may watch, and everything else takes a token.
pub(super) fn settings(folder: &Path) -> String {
    let [tokens, certificate, key] = ["tokens.toml", "tls.crt", "tls.key"].map(|name| folder.join(name));
    format!(
        "fps = 15\n[http.auth]\nmode = \"token\"\nopen = [\"view\"]\ntokens = {tokens:?}\n\
         [http.tls]\ncertificate = {certificate:?}\nkey = {key:?}\n"
    )
}

/// Makes the first certificate in `folder`, which the box starts with.
pub(super) fn certify(folder: &Path) -> anyhow::Result<()> {
    succeeded(&command(binary("bridgectl")?).args(certificate(folder, 300)).output()?)
}

fn certificate(folder: &Path, days: u32) -> [String; 6] {
    let (out, days) = (folder.display().to_string(), format!("{days}d"));
    ["certificate", "self-signed", "--out", &out, "--expires", &days].map(str::to_owned)
}

fn succeeded(output: &Output) -> anyhow::Result<()> {
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}", said.trim());
    Ok(())
}

/// Who looks after the box.
#[derive(Debug)]
pub(super) struct Operator {
    folder: PathBuf,
    /// Into HTTPS.
    door: Service,
    /// Whose address people are given.
    studio: Studio,
    admin: String,
    day: u32,
    /// Good until the day is over.
    token: Option<String>,
}

impl Operator {
    /// Takes a box over that was started with [`settings`].
    pub(super) fn of(stage: &Stage, studio: Studio, folder: &Path) -> anyhow::Result<Self> {
        let mut operator = Self {
            folder: folder.to_owned(),
            door: Service::out_of_tls(stage.system.http())?,
            studio,
            admin: String::new(),
            day: 0,
            token: None,
        };
        operator.admin = operator.say(
            stage,
            &["token", "new", "admin", "--scope", "admin", "--expires", "3650d"],
        )?;
        operator.studio.address_of(&stage.system)?;
        Ok(operator)
    }

    /// Where people come in, without TLS on their side.
    pub(super) fn door(&self) -> SocketAddr {
        self.door.address()
    }

    /// The studio's pid.
    pub(super) fn studio(&self) -> anyhow::Result<u32> {
        self.studio.pid()
    }

    /// How far the box's clock is ahead of the machine's.
    pub(super) fn ahead(&self) -> Duration {
        DAY * self.day
    }

    /// Tasks of signaling's runtime.
    pub(super) fn tasks(&self) -> anyhow::Result<u32> {
        self.metric("framebridge_signaling_tasks")?
            .parse()
            .context("a count of tasks")
    }

    /// Lets a day pass, with all that is done on one.
    pub(super) fn pass_day(&mut self, stage: &Stage) -> anyhow::Result<()> {
        self.day += 1;
        stage.step_clock(self.ahead())?;
        self.renew_certificate(stage).context("the certificate")?;
        self.change_tokens(stage).context("tokens")?;
        fill_diary(&stage.system.runtime_dir().join(JOURNAL)).context("the journal")?;
        self.say(stage, &["share", "test", "--expires", "5m"])
            .context("a share")?;
        self.say(stage, &["unshare"]).context("the end of a share")?;
        self.say(stage, &["quality", "desk", "--fps", "10"])
            .context("a lower quality")?;
        self.say(stage, &["quality", "desk", "--reset"])
            .context("the quality as before")?;
        self.say(stage, &["reload"]).context("a reload")?;
        let snapshot = self.ask("GET", "/api/v1/streams/desk/snapshot.jpg", None)?;
        ensure!(snapshot.status == 200, "a snapshot is answered {}", snapshot.status);
        let clip = self.ask("GET", "/api/v1/streams/test/clip.mp4?last=3", Some(&self.admin))?;
        ensure!(
            clip.status == 200,
            "a clip is answered {}: {}",
            clip.status,
            clip.text()
        );
        self.say(stage, &["status", "--json"]).context("the status")?;
        Ok(())
    }

    /// Puts another in its place, as whoever renews it does, and waits until HTTPS has it.
    fn renew_certificate(&self, stage: &Stage) -> anyhow::Result<()> {
        let before = self.metric(EXPIRY)?;
        let made = certificate(&self.folder, 300 + self.day);
        self.say(stage, &made.each_ref().map(String::as_str))?;
        wait::until_true("the box to take it up", PATIENCE, || Ok(self.metric(EXPIRY)? != before))
    }

    /// Yesterday's token is over, by the clock alone; today's opens what it is for. The day before's is thrown away.
    fn change_tokens(&mut self, stage: &Stage) -> anyhow::Result<()> {
        let asks = |token: &str| self.ask("POST", "/api/v1/streams/test/keyframe", Some(token));
        if let Some(token) = &self.token {
            let status = asks(token)?.status;
            ensure!(status == 401, "yesterday's is answered {status}");
            self.say(stage, &["token", "revoke", &format!("day-{}", self.day - 1)])?;
        }
        let name = format!("day-{}", self.day);
        let token = self.say(
            stage,
            &["token", "new", &name, "--scope", "control", "--expires", "12h"],
        )?;
        // The file of tokens is looked at now and then.
        wait::until_true("today's to be let in", PATIENCE, || Ok(asks(&token)?.status < 300))?;
        self.token = Some(token);
        Ok(())
    }

    fn metric(&self, name: &str) -> anyhow::Result<String> {
        let metrics = self.ask("GET", "/metrics", Some(&self.admin))?.text();
        let mut lines = metrics
            .lines()
            .filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        lines
            .next()
            .map(str::to_owned)
            .with_context(|| format!("no {name} in the metrics"))
    }

    fn ask(&self, method: &str, path: &str, token: Option<&str>) -> anyhow::Result<Response> {
        let mut request = Request::new(method, path);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        request.send(self.door())
    }

    fn say(&self, stage: &Stage, arguments: &[&str]) -> anyhow::Result<String> {
        let output = stage.system.bridgectl(arguments)?;
        succeeded(&output).with_context(|| format!("bridgectl {}", arguments[..arguments.len().min(3)].join(" ")))?;
        let said = String::from_utf8(output.stdout)?;
        Ok(said.lines().next().unwrap_or_default().trim().to_owned())
    }
}

/// Adds a day's lines: the last one, again and again.
fn fill_diary(journal: &Path) -> anyhow::Result<()> {
    let text = fs::read_to_string(journal)?;
    let last = text.lines().last().context("it is empty")?;
    let times = usize::try_from(DIARY)? / (last.len() + 1);
    let mut file = File::options().append(true).open(journal)?;
    Ok(file.write_all(format!("{last}\n").repeat(times).as_bytes())?)
}
