//! `[http]`: where signaling listens, under which names, and who may ask.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    str::FromStr,
};

use framebridge_auth::{Cidr, Issuer, Scope};

use crate::{listen::listen_address, reader::Reader};

/// `[http]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    /// Where signaling listens; port 0 lets the system pick.
    pub listen: SocketAddr,
    /// Names by which this machine may be asked, besides addresses and its own name; `*` is any.
    pub hosts: Vec<String>,
    /// Web origins whose pages may play the streams by WHEP, e.g. `https://player.example`; `*` is any.
    pub origins: Vec<String>,
    /// Web origins whose pages may show ours in a frame.
    pub frame_ancestors: Vec<String>,
    /// Proxies that say truly who asks, by `X-Forwarded-For` and `X-Forwarded-Proto`.
    pub trusted_proxies: Vec<Cidr>,
    /// Who may ask.
    pub auth: Auth,
    /// HTTPS, where it is served.
    pub tls: Option<Tls>,
}

/// `[http.auth]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Auth {
    /// How it is known who asks.
    pub mode: AuthMode,
    /// The file of tokens, where there is one.
    pub tokens: Option<PathBuf>,
    /// An identity provider whose tokens are taken, too.
    pub jwt: Option<Jwt>,
    /// The most that nobody needs a token for.
    pub open: Option<Scope>,
}

/// `[http.auth.jwt]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jwt {
    /// The file of its public keys, a JWK Set.
    pub keys: PathBuf,
    /// Whose tokens they are, and how they say what they open.
    pub issuer: Issuer,
}

/// How it is known who asks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AuthMode {
    /// Nothing is said: whoever reaches it may do everything. Only for a listener on loopback.
    #[default]
    Unset,
    /// The same, said by the operator.
    None,
    /// By tokens.
    Token,
}

/// `[http.tls]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// PEM: the server's certificate, then those that vouch for it.
    pub certificate: PathBuf,
    /// PEM: its private key.
    pub key: PathBuf,
    /// Whether browsers are told to come by HTTPS only, for a year.
    pub hsts: bool,
}

/// What to type where a listener is open to others and nothing says who may ask.
const SAY_WHO: &str = "lets other machines in, and nothing says who may ask. Write `[http.auth]` with `mode = \"token\"` and \
     `tokens = \"/etc/framebridge/tokens.toml\"`, then make a token with `bridgectl token new NAME --scope view`; or write \
     `mode = \"none\"` to let in whoever reaches it";

pub(crate) fn read(reader: &mut Reader<'_>) -> Http {
    let origins = origins(reader, "http.origins", Vec::new());
    // Who may play may show the player, too; anybody may only if that is said.
    let players = origins.iter().filter(|origin| *origin != "*").cloned().collect();
    let http = Http {
        listen: reader.text("http.listen", Listen((Ipv4Addr::LOCALHOST, 8890).into())).0,
        hosts: hosts(reader, "http.hosts"),
        frame_ancestors: self::origins(reader, "http.frame_ancestors", players),
        origins,
        trusted_proxies: reader.list("http.trusted_proxies", Vec::new()),
        auth: auth(reader),
        tls: tls(reader),
    };
    if http.auth.mode == AuthMode::Unset && !http.listen.ip().to_canonical().is_loopback() {
        reader.problem("http.listen", format!("{} {SAY_WHO}", http.listen));
    }
    http
}

/// [`listen_address`], as a setting is read.
struct Listen(SocketAddr);

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        listen_address(text).map(Self)
    }
}

fn auth(reader: &mut Reader<'_>) -> Auth {
    let mode = reader.text("http.auth.mode", AuthMode::Unset);
    let tokens = reader.optional("http.auth.tokens", false);
    let open: Vec<Scope> = reader.list("http.auth.open", Vec::new());
    let jwt = jwt(reader);
    if mode == AuthMode::Token && tokens.is_none() && jwt.is_none() {
        reader.problem(
            "http.auth.tokens",
            "mode = \"token\" needs a file of tokens, e.g. tokens = \"/etc/framebridge/tokens.toml\": \
             `bridgectl token new NAME --scope view` makes it; or the keys of an identity provider, http.auth.jwt",
        );
    }
    if mode != AuthMode::Token && jwt.is_some() {
        let detail = "tokens count only with http.auth.mode = \"token\": without it everybody may do everything";
        reader.problem("http.auth.jwt.keys", detail);
    }
    if mode != AuthMode::Token {
        let why = "nobody is asked for a token without mode = \"token\"";
        reader.warn_if_set(&["http.auth.tokens", "http.auth.open"], why);
    }
    if open.contains(&Scope::Publish) {
        reader.problem(
            "http.auth.open",
            "nobody publishes without a token: use view or control",
        );
    }
    Auth {
        mode,
        tokens: tokens.map(PathBuf::from),
        jwt,
        open: Scope::most(open),
    }
}

fn jwt(reader: &mut Reader<'_>) -> Option<Jwt> {
    let keys = reader.optional("http.auth.jwt.keys", false);
    let issuer = reader.optional("http.auth.jwt.issuer", false);
    let audience = reader.optional("http.auth.jwt.audience", false);
    let scope_claim = reader.text("http.auth.jwt.scope_claim", "scope".to_owned());
    let streams_claim = reader.text("http.auth.jwt.streams_claim", "streams".to_owned());
    match (keys, issuer, audience) {
        (Some(keys), Some(name), Some(audience)) => Some(Jwt {
            keys: keys.into(),
            issuer: Issuer {
                name,
                audience,
                scope_claim,
                streams_claim,
            },
        }),
        (None, None, None) => {
            let claims = ["http.auth.jwt.scope_claim", "http.auth.jwt.streams_claim"];
            reader.warn_if_set(&claims, "no keys are named whose JWTs would count");
            None
        }
        (keys, issuer, _) => {
            let missing = match (keys, issuer) {
                (None, _) => "http.auth.jwt.keys",
                (Some(_), None) => "http.auth.jwt.issuer",
                (Some(_), Some(_)) => "http.auth.jwt.audience",
            };
            reader.problem(missing, "JWTs take all three: keys, issuer and audience");
            None
        }
    }
}

fn tls(reader: &mut Reader<'_>) -> Option<Tls> {
    let certificate = reader.optional("http.tls.certificate", false);
    let key = reader.optional("http.tls.key", false);
    let hsts = reader.flag("http.tls.hsts", false);
    match (certificate, key) {
        (Some(certificate), Some(key)) => Some(Tls {
            certificate: certificate.into(),
            key: key.into(),
            hsts,
        }),
        (None, None) => {
            reader.warn_if_set(&["http.tls.hsts"], "without a certificate there is no HTTPS");
            None
        }
        (Some(_), None) => {
            reader.problem("http.tls.key", "a certificate needs its key");
            None
        }
        (None, Some(_)) => {
            reader.problem("http.tls.certificate", "a key needs its certificate");
            None
        }
    }
}

/// Names as browsers send them in `Host`, but for the port.
fn hosts(reader: &mut Reader<'_>, key: &str) -> Vec<String> {
    let hosts: Vec<String> = reader.list(key, Vec::new());
    for bad in hosts.iter().filter(|host| *host != "*" && !is_host_name(host)) {
        let bare = bare_host(bad);
        let example = if is_host_name(bare) { bare } else { "cam.example" };
        let message = format!(
            "`{bad}` is no host name, so no request would have it: write it without scheme, port, path and wildcard, e.g. `{example}`, \
             or `*` for any"
        );
        reader.problem(key, message);
    }
    if let Some(address) = hosts.iter().find(|host| host.parse::<IpAddr>().is_ok()) {
        reader.warn(key, format!("`{address}` has no effect: addresses are always allowed"));
    }
    warn_of_any(reader, key, &hosts);
    hosts
}

/// Beside `*` the others say nothing.
fn warn_of_any(reader: &mut Reader<'_>, key: &str, list: &[String]) {
    if list.len() > 1 && list.iter().any(|item| item == "*") && reader.has(key) {
        reader.warn(key, "only `*` has an effect, which is all of them");
    }
}

/// Letters, digits, `-`, `_` and dots between them; or an address.
fn is_host_name(host: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    host.parse::<IpAddr>().is_ok() || host.split('.').all(is_label)
}

/// `https://*.cam.example:8443/path` -> `cam.example`
fn bare_host(written: &str) -> &str {
    let authority = written.split_once("://").map_or(written, |(_, rest)| rest).trim();
    if let Some((address, _)) = authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return address;
    }
    let host = authority.split(['/', ':', '?']).next().unwrap_or_default();
    host.trim_start_matches("*.").trim_end_matches('.')
}

fn origins(reader: &mut Reader<'_>, key: &str, default: Vec<String>) -> Vec<String> {
    let origins: Vec<String> = reader.list(key, default);
    // What another key gives is judged there.
    let is_own = reader.has(key);
    for bad in origins
        .iter()
        .filter(|origin| is_own && *origin != "*" && !is_origin(origin))
    {
        let message = format!(
            "`{bad}` is no origin that a browser sends: use e.g. https://player.example, in small letters, without a path, a wildcard \
             or the scheme's own port; or *"
        );
        reader.problem(key, message);
    }
    warn_of_any(reader, key, &origins);
    origins
}

/// Whether a browser would send it, letter for letter.
fn is_origin(origin: &str) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else {
        return false;
    };
    let own_port = match scheme {
        "https" => ":443",
        "http" => ":80",
        _ => "/",
    };
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !byte.is_ascii_uppercase() && !b"/*?#@;,'\"".contains(&byte);
    !authority.is_empty() && authority.bytes().all(is_plain) && !authority.ends_with(own_port)
}

impl AuthMode {
    const ALL: [(Self, &'static str); 3] = [(Self::Unset, ""), (Self::None, "none"), (Self::Token, "token")];
}

impl fmt::Display for AuthMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            Self::ALL
                .iter()
                .find(|(mode, _)| mode == self)
                .map_or("", |(_, name)| name),
        )
    }
}

impl FromStr for AuthMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .iter()
            .find_map(|&(mode, name)| (name == text).then_some(mode))
            .ok_or_else(|| format!("`{text}` is no way to know who asks: use token or none"))
    }
}
