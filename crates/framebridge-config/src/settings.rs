//! The settings themselves: types, defaults, ranges.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsString,
    fmt, fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use toml::de::DeTable;

use crate::{
    file::read_file,
    hooks::{self, Hook},
    http::{self, Http},
    ice_url::ice_url,
    log::{self, Log},
    place::{Host, Place},
    push,
    reader::{DEBUG_ENDPOINTS, Entry, OTHER_VARIABLES, Outcome, PREFIX, Problem, Reader},
    streams::{self, Stream},
    studio::{self, Studio},
};

/// Read when no `--config` and no `FRAMEBRIDGE_CONFIG` names another.
pub const DEFAULT_FILE: &str = "/etc/framebridge/framebridge.toml";

/// Everything the operator may decide, validated.
#[derive(Debug, Clone)]
pub struct Settings {
    /// HTTP: page, WHEP, API.
    pub http: Http,
    /// WebRTC: media to viewers.
    pub webrtc: Webrtc,
    /// What is captured, by name.
    pub streams: Vec<Stream>,
    /// How processes are watched and restarted.
    pub supervisor: Supervise,
    /// The studio to register with, if any.
    pub studio: Option<Studio>,
    /// Who is told what happens, in the order of their names.
    pub hooks: Vec<Hook>,
    /// Form and amount of the logs.
    pub log: Log,
    /// `FRAMEBRIDGE_DEBUG_ENDPOINTS=1`: processes can be broken on request. For tests; no setting of the file.
    pub debug_endpoints: bool,
    /// Values that were clamped into their range.
    pub warnings: Vec<Problem>,
    entries: Vec<Entry>,
}

/// The UDP port that no other media server has by default: 8890 is MediaMTX's for SRT, 8555 go2rtc's.
const MEDIA_PORT: u16 = 8897;

/// Media workers: each has the supervisor keep three descriptors for it, of 64 in all.
const MOST_WORKERS: u8 = 20;

/// `[webrtc]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webrtc {
    /// The one UDP port of all viewers; 0 lets the system pick.
    pub port: u16,
    /// Whether viewers may connect by TCP, too, to HTTP's port.
    pub tcp: bool,
    /// Local addresses to bind; never empty.
    pub bind: Vec<IpAddr>,
    /// Further addresses that lead here, e.g. the public one of a 1:1 NAT.
    pub candidates: Vec<Place>,
    /// STUN servers that are asked for our address from outside.
    pub stun: Vec<Place>,
    /// Interfaces whose addresses are offered (`eth*`), or are not (`!docker*`); none: all.
    pub interfaces: Vec<String>,
    /// STUN and TURN servers that viewers are told of.
    pub ice_servers: Vec<IceServer>,
    /// Threads that send media, 1 to 20.
    pub workers: usize,
    /// Viewers of one stream, 1 to 100,000; the next one is refused with 503.
    pub max_viewers_per_stream: u32,
    /// What the media plane may hold in memory, MiB.
    pub memory_budget_mb: u32,
    /// How long a viewer that has gone quiet keeps its session.
    pub disconnect_grace: Duration,
}

/// `[[webrtc.ice_servers]]`
#[derive(Clone, PartialEq, Eq)]
pub struct IceServer {
    /// `stun:` and `turn:` URLs; at least one.
    pub urls: Vec<String>,
    /// For TURN.
    pub username: Option<String>,
    /// For TURN.
    pub credential: Option<String>,
    /// Shared with a TURN server (`static-auth-secret`): each viewer gets credentials of its own, which end.
    pub secret: Option<String>,
}

/// Who starts the processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manage {
    /// The supervisor itself.
    Spawn,
    /// systemd, from their units; the supervisor judges and asks it over D-Bus.
    Systemd,
}

/// `[supervisor]`. `docs/decisions/0008-supervision.md` has the reasons of the defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Supervise {
    /// Who starts the processes.
    pub manage: Manage,
    /// First wait before a restart; doubles with each failure.
    pub backoff: Duration,
    /// Longest wait before a restart.
    pub backoff_cap: Duration,
    /// Longest wait before a restart of signaling, on which every viewer hangs; no longer than `backoff_cap`.
    pub signaling_backoff_cap: Duration,
    /// Running this long resets the wait.
    pub healthy_after: Duration,
    /// Failures within the window that park a process.
    pub crash_loop_failures: u32,
    /// Length of that window.
    pub crash_loop_window: Duration,
    /// First stay in park; doubles with each.
    pub cooldown: Duration,
    /// Longest stay in park.
    pub cooldown_cap: Duration,
    /// Time that a process has from SIGTERM to SIGKILL.
    pub stop_timeout: Duration,
    /// Missed heartbeats in a row that make a process wedged.
    pub missed_heartbeats: u32,
    /// How often signaling's HTTP is probed.
    pub probe_interval: Duration,
    /// Longest time for a probe's answer.
    pub probe_timeout: Duration,
    /// Failed probes in a row that restart signaling.
    pub probe_failures: u32,
    /// Missed heartbeats in a row that restart signaling though HTTP answers.
    pub stale_heartbeats: u32,
}

/// All that settings are made of: parsing looks nowhere else.
#[derive(Debug, Clone, Default)]
pub struct Input<'a> {
    /// The file's name, for messages.
    pub file: &'a str,
    /// The file's text; empty where there is no file.
    pub text: &'a str,
    /// The environment's `FRAMEBRIDGE_*`.
    pub env: BTreeMap<String, String>,
    /// `--stream NAME=SOURCE`, in order.
    pub streams: &'a [String],
}

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("can't read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file is no TOML.
    #[error("{0}")]
    Syntax(Problem),
    /// Settings that make no sense, all of them.
    #[error("{}", lines(.0))]
    Invalid(Vec<Problem>),
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
}

impl Settings {
    /// Reads the file and the environment of this process.
    ///
    /// The file is `config`, else `$FRAMEBRIDGE_CONFIG`, else `/etc/framebridge/framebridge.toml` if it exists, else
    /// the built-in defaults hold: one stream, `test`.
    ///
    /// # Errors
    /// The file can't be read, is no TOML, or holds settings that make no sense (all of them are named).
    pub fn load(config: Option<&Path>, streams: &[String]) -> Result<Self, ConfigError> {
        Self::load_with(config, streams, env::vars_os().collect())
    }

    /// [`load`](Self::load), with the environment of another process.
    ///
    /// # Errors
    /// Those of `load`.
    pub fn load_with(
        config: Option<&Path>,
        streams: &[String],
        environment: Vec<(OsString, OsString)>,
    ) -> Result<Self, ConfigError> {
        let named = || environment.iter().find(|(name, _)| name == "FRAMEBRIDGE_CONFIG");
        let named = config
            .map(Path::to_owned)
            .or_else(|| named().map(|(_, path)| PathBuf::from(path)))
            // An empty variable is none.
            .filter(|path| !path.as_os_str().is_empty());
        let path = named.or_else(|| Some(PathBuf::from(DEFAULT_FILE)).filter(|path| path.exists()));
        let text = match &path {
            Some(path) => read_file(path).map_err(|source| ConfigError::Read {
                path: path.clone(),
                source,
            })?,
            None => String::new(),
        };
        let file = path.map_or_else(|| "built-in".to_owned(), |path| path.display().to_string());
        let env = variables(environment.into_iter()).map_err(ConfigError::Invalid)?;
        let mut settings = Self::parse(&Input {
            file: &file,
            text: &text,
            env,
            streams,
        })?;
        let mode = fs::metadata(&file).map_or(0, |found| found.mode() & 0o777);
        if mode & OTHERS_READ != 0 && settings.has_secrets_of(&file) {
            settings.warnings.push(Problem {
                message: format!("everybody on this machine may read the secrets in it: chmod 640 {file}"),
                key: format!("mode {mode:o}"),
                place: file,
            });
        }
        Ok(settings)
    }

    /// Whether the file itself holds a secret.
    fn has_secrets_of(&self, file: &str) -> bool {
        let is_of_file = |key: &str| {
            let entry = self.entries.iter().find(|entry| entry.key == key);
            entry.is_some_and(|entry| entry.origin.starts_with(file))
        };
        let mut secrets = self.entries.iter().filter(|entry| entry.is_secret());
        secrets.any(|entry| entry.origin.starts_with(file))
            || self
                .streams
                .iter()
                .any(|stream| stream.source.has_secrets() && is_of_file(&format!("streams.{}.source", stream.name)))
    }

    /// Understands the input. Pure.
    ///
    /// # Errors
    /// The text is no TOML, or holds settings that make no sense (all of them are named).
    pub fn parse(input: &Input<'_>) -> Result<Self, ConfigError> {
        let table = DeTable::parse(input.text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            let line = input.text.bytes().take(start).filter(|&byte| byte == b'\n').count() + 1;
            ConfigError::Syntax(Problem {
                place: format!("{}:{line}", input.file),
                key: "TOML".into(),
                message: syntax(error.message(), input.text.lines().nth(line - 1).unwrap_or_default()),
            })
        })?;
        let mut reader = Reader::new(input.file, input.text, table.get_ref(), &input.env);
        let mut settings = Self {
            http: http::read(&mut reader),
            webrtc: webrtc(&mut reader),
            streams: streams::streams(&mut reader, input.streams),
            supervisor: supervise(&mut reader),
            studio: studio::read(&mut reader),
            hooks: hooks::read(&mut reader),
            log: log::read(&mut reader),
            debug_endpoints: input.env.get(DEBUG_ENDPOINTS).is_some_and(|value| value == "1"),
            warnings: Vec::new(),
            entries: Vec::new(),
        };
        for stream in &settings.streams {
            push::check_receivers(&mut reader, &stream.name, &stream.pushes, settings.http.listen);
        }
        let Outcome {
            entries,
            problems,
            warnings,
        } = reader.finish();
        if !problems.is_empty() {
            return Err(ConfigError::Invalid(problems));
        }
        (settings.entries, settings.warnings) = (entries, warnings);
        Ok(settings)
    }

    /// Every setting in force, with where it came from.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Shows `value` for `key`: it outranks the configured one.
    pub fn overrule(&mut self, key: &str, value: String, origin: String) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.key == key) {
            (entry.value, entry.origin) = (value, origin);
        }
    }

    /// The effective configuration as a file that would give it again; secrets are masked.
    pub fn to_toml(&self) -> String {
        let entries = self.entries.iter().map(|entry| {
            // Who sets these asks for them, also of a source that has its own.
            let is_no_wish = entry.origin == "default" && streams::is_wish(&entry.key);
            let line = format!("{}  # {}", entry.value, entry.origin);
            (entry.key.as_str(), line, is_no_wish)
        });
        sections(entries)
    }
}

/// What is wrong with the form of a file, and what is most likely meant by `line`. That may hold a secret, of which nothing is said.
fn syntax(said: &str, line: &str) -> String {
    let odd_space = line.chars().any(|found| found.is_whitespace() && !found.is_ascii());
    if odd_space {
        return format!("{said}; a space in this line is none that the keyboard makes: write it anew");
    }
    let Some((key, value)) = line.split_once('=').map(|(key, value)| (key.trim(), value.trim())) else {
        return match line.split_once(':') {
            Some((key, "")) if is_key(key.trim()) => format!("{said}; write `[{}]`", key.trim()),
            Some((key, _)) if is_key(key.trim()) => format!("{said}; write `{} = VALUE`", key.trim()),
            Some(_) | None => said.to_owned(),
        };
    };
    let begins =
        |found: char| found.is_ascii_digit() || "\"'[{+-".contains(found) || ["true", "false"].contains(&value);
    let is_quoted = ["\"", "'"].iter().any(|quote| value.starts_with(quote));
    let is_text =
        !value.starts_with(begins) || said.contains("float") || said.contains("number") || said.contains("integer");
    if is_key(key) && !value.is_empty() && !is_quoted && is_text {
        format!("{said}; put the value of `{key}` between straight quotes: {key} = \"…\"")
    } else {
        said.to_owned()
    }
}

/// Whether a key is one that may be shown.
fn is_key(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
}

/// Those of an environment that are ours. What others have in theirs does not matter, and need not be text.
fn variables(all: impl Iterator<Item = (OsString, OsString)>) -> Result<BTreeMap<String, String>, Vec<Problem>> {
    let (mut ours, mut problems) = (BTreeMap::new(), Vec::new());
    for (name, value) in all {
        if !name.as_encoded_bytes().starts_with(PREFIX.as_bytes()) {
            continue;
        }
        let key = name.to_string_lossy().into_owned();
        match value.into_string() {
            Ok(value) => _ = ours.insert(key, value),
            // Paths may be anything.
            Err(_) if OTHER_VARIABLES.contains(&key.as_str()) => {}
            Err(_) => problems.push(Problem {
                place: "environment".into(),
                key,
                message: "its value is no text: write it in UTF-8".into(),
            }),
        }
    }
    if problems.is_empty() { Ok(ours) } else { Err(problems) }
}

/// A file with these keys and values, in sections; those that are only to be seen are comments.
pub(crate) fn sections<'a>(entries: impl Iterator<Item = (&'a str, String, bool)>) -> String {
    let mut sections: BTreeMap<&str, Vec<(&str, String, &str)>> = BTreeMap::new();
    for (key, value, only_seen) in entries {
        let (section, name) = key.rsplit_once('.').unwrap_or(("", key));
        let comment = if only_seen { "# " } else { "" };
        sections.entry(section).or_default().push((name, value, comment));
    }
    let mut out = String::new();
    for (section, entries) in sections {
        out.push_str(&heading(section));
        for (name, value, comment) in entries {
            out.push_str(&format!("{comment}{name} = {value}\n"));
        }
        out.push('\n');
    }
    out
}

/// `[section]`, or `[[section]]` for an item of a list.
fn heading(section: &str) -> String {
    match section.rsplit_once('.') {
        Some((list, index))
            if index.bytes().all(|byte| byte.is_ascii_digit()) && (list == ICE_SERVERS || push::is_item(section)) =>
        {
            format!("[[{list}]]\n")
        }
        Some(_) | None => format!("[{section}]\n"),
    }
}

/// The bit of a file's mode that lets everybody read it.
const OTHERS_READ: u32 = 0o004;

const ICE_SERVERS: &str = "webrtc.ice_servers";

fn webrtc(reader: &mut Reader<'_>) -> Webrtc {
    Webrtc {
        port: reader.port("webrtc.port", MEDIA_PORT),
        tcp: reader.flag("webrtc.tcp", true),
        bind: bind(reader),
        candidates: candidates(reader),
        stun: stun(reader),
        interfaces: reader.list("webrtc.interfaces", Vec::new()),
        workers: usize::from(reader.number("webrtc.workers", 1_u8, 1..=MOST_WORKERS)),
        max_viewers_per_stream: reader.number("webrtc.max_viewers_per_stream", 1000, 1..=100_000),
        memory_budget_mb: reader.number("webrtc.memory_budget_mb", 512, 32..=65_536),
        disconnect_grace: reader.millis("webrtc.disconnect_grace_ms", Duration::from_secs(12), 1000..=600_000),
        ice_servers: ice_servers(reader),
    }
}

fn ice_servers(reader: &mut Reader<'_>) -> Vec<IceServer> {
    let found = reader.children(ICE_SERVERS);
    if found.iter().any(|index| index.parse::<usize>().is_err()) {
        reader.problem(ICE_SERVERS, format!("there may be several: write `[[{ICE_SERVERS}]]`"));
        return Vec::new();
    }
    found.iter().map(|index| ice_server(reader, index)).collect()
}

/// An address as a setting is read.
struct Ip(IpAddr);

impl fmt::Display for Ip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Ip {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let address = text.parse().map(Self);
        address.map_err(|_| "use an IP address without a port, e.g. 192.0.2.7 or 2001:db8::7")
    }
}

fn bind(reader: &mut Reader<'_>) -> Vec<IpAddr> {
    let any = vec![Ip(Ipv4Addr::UNSPECIFIED.into()), Ip(Ipv6Addr::UNSPECIFIED.into())];
    let bind: Vec<_> = reader.list("webrtc.bind", any).into_iter().map(|Ip(ip)| ip).collect();
    if bind.is_empty() {
        reader.problem(
            "webrtc.bind",
            "media needs an address: leave the key out for all, or use e.g. \"192.0.2.7\"",
        );
    }
    bind
}

fn candidates(reader: &mut Reader<'_>) -> Vec<Place> {
    let candidates: Vec<Place> = reader.list("webrtc.candidates", Vec::new());
    let leads_nowhere = |place: &&Place| match place.host {
        Host::Address(ip) => ip.is_unspecified() || ip.is_multicast(),
        Host::Name(_) => false,
    };
    if let Some(bad) = candidates.iter().find(leads_nowhere) {
        let message = format!("`{bad}` leads no viewer here: use an address that they reach, e.g. 203.0.113.7");
        reader.problem("webrtc.candidates", message);
    }
    candidates
}

/// Servers that are asked; each asks for a datagram in half a minute, and for two where they agree.
const MOST_STUN_SERVERS: usize = 4;

fn stun(reader: &mut Reader<'_>) -> Vec<Place> {
    let servers: Vec<Place> = reader.list("webrtc.stun", Vec::new());
    if servers.len() > MOST_STUN_SERVERS {
        reader.problem("webrtc.stun", "one or two servers are enough, and four the most");
    }
    servers
}

fn ice_server(reader: &mut Reader<'_>, index: &str) -> IceServer {
    let key = |name: &str| format!("{ICE_SERVERS}.{index}.{name}");
    let server = IceServer {
        urls: ice_urls(reader, &key("urls")),
        username: reader.optional(&key("username"), false),
        credential: reader.optional(&key("credential"), true),
        secret: reader.optional(&key("secret"), true),
    };
    if server.secret.is_some() && (server.username.is_some() || server.credential.is_some()) {
        reader.problem(
            &key("secret"),
            "credentials are made of the secret: leave out username and credential",
        );
    }
    let relays = server.urls.iter().any(|url| url.starts_with("turn"));
    let is_whole = server.secret.is_some() || (server.username.is_some() && server.credential.is_some());
    if relays && !is_whole {
        let message = "a TURN server needs `username` and `credential`, or `secret`: without them browsers refuse to connect at all";
        reader.problem(&key("urls"), message);
    }
    if !relays {
        let unused = [key("username"), key("credential"), key("secret")];
        reader.warn_if_set(&unused.each_ref().map(String::as_str), "only TURN servers ask for it");
    }
    server
}

fn ice_urls(reader: &mut Reader<'_>, key: &str) -> Vec<String> {
    let urls: Vec<String> = reader.list(key, Vec::new());
    let bad = urls.iter().find_map(|url| ice_url(url).err().map(|why| (url, why)));
    if let Some((bad, why)) = bad {
        reader.problem(key, format!("`{bad}` is no ICE server: {why}"));
    } else if urls.is_empty() {
        reader.problem(key, "an ICE server needs at least one URL");
    }
    urls
}

fn supervise(reader: &mut Reader<'_>) -> Supervise {
    let seconds = Duration::from_secs;
    let mut millis = |name: &str, default, range| reader.millis(&format!("supervisor.{name}"), default, range);
    let backoff = millis("backoff_ms", Duration::from_millis(100), 10..=60_000);
    let backoff_cap = millis("backoff_cap_ms", seconds(30), 10..=3_600_000);
    let longest = u32::try_from(backoff_cap.as_millis()).unwrap_or(u32::MAX);
    let signaling_backoff_cap = millis("signaling_backoff_cap_ms", seconds(1).min(backoff_cap), 10..=longest);
    let healthy_after = millis("healthy_after_ms", seconds(60), 1000..=3_600_000);
    let crash_loop_window = millis("crash_loop_window_ms", seconds(60), 1000..=3_600_000);
    let cooldown = millis("cooldown_ms", seconds(30), 100..=3_600_000);
    let cooldown_cap = millis("cooldown_cap_ms", seconds(300), 100..=3_600_000);
    let stop_timeout = millis("stop_timeout_ms", seconds(5), 100..=60_000);
    let probe_interval = millis("probe_interval_ms", seconds(1), 100..=60_000);
    let probe_timeout = millis("probe_timeout_ms", seconds(1), 100..=60_000);
    reader.warn_of_cap(
        ("supervisor.backoff_ms", backoff),
        ("supervisor.backoff_cap_ms", backoff_cap),
    );
    reader.warn_of_cap(
        ("supervisor.cooldown_ms", cooldown),
        ("supervisor.cooldown_cap_ms", cooldown_cap),
    );
    Supervise {
        manage: reader.text("supervisor.manage", Manage::Spawn),
        backoff,
        backoff_cap,
        signaling_backoff_cap,
        healthy_after,
        crash_loop_failures: reader.number("supervisor.crash_loop_failures", 5, 1..=1000),
        crash_loop_window,
        cooldown,
        cooldown_cap,
        stop_timeout,
        missed_heartbeats: reader.number("supervisor.missed_heartbeats", 3, 1..=1000),
        probe_interval,
        probe_timeout,
        probe_failures: reader.number("supervisor.probe_failures", 3, 1..=1000),
        stale_heartbeats: reader.number("supervisor.stale_heartbeats", 12, 1..=1000),
    }
}

impl fmt::Display for Manage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Spawn => "spawn",
            Self::Systemd => "systemd",
        })
    }
}

impl FromStr for Manage {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Spawn, Self::Systemd]
            .into_iter()
            .find(|manage| manage.to_string() == text)
            .ok_or_else(|| format!("`{text}` is no way to manage: use spawn or systemd"))
    }
}

impl fmt::Debug for IceServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IceServer")
            .field("urls", &self.urls)
            .finish_non_exhaustive()
    }
}
