//! `[http]`: where signaling listens, under which names, and who may ask.

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    str::FromStr,
};

use framebridge_auth::{Cidr, Issuer, Scope};

use crate::reader::Reader;

/// `[http]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    /// Where signaling listens; port 0 lets the system pick.
    pub listen: SocketAddr,
    /// Names by which this machine may be asked, besides addresses and its own name; `*` is any.
    pub hosts: Vec<String>,
    /// Web origins whose pages may play the streams by WHEP, e.g. `https://player.example`; `*` is any.
    pub origins: Vec<String>,
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
    let http = Http {
        listen: reader.text("http.listen", SocketAddr::from((Ipv4Addr::LOCALHOST, 8890))),
        hosts: reader.list("http.hosts", Vec::new()),
        origins: origins(reader, "http.origins"),
        trusted_proxies: reader.list("http.trusted_proxies", Vec::new()),
        auth: auth(reader),
        tls: tls(reader),
    };
    if http.auth.mode == AuthMode::Unset && !http.listen.ip().to_canonical().is_loopback() {
        reader.problem("http.listen", format!("{} {SAY_WHO}", http.listen));
    }
    http
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
    Auth {
        mode,
        tokens: tokens.map(PathBuf::from),
        jwt,
        open: open.into_iter().max(),
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
        (None, None, None) => None,
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
        (None, None) => None,
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

fn origins(reader: &mut Reader<'_>, key: &str) -> Vec<String> {
    let origins: Vec<String> = reader.list(key, Vec::new());
    let is_origin = |origin: &str| {
        let authority = origin.split_once("://").map_or("", |(_, authority)| authority);
        !authority.is_empty() && !authority.contains('/') && origin.bytes().all(|byte| byte.is_ascii_graphic())
    };
    if let Some(bad) = origins.iter().find(|origin| *origin != "*" && !is_origin(origin)) {
        reader.problem(
            key,
            format!("`{bad}` is no origin: use e.g. https://player.example, without a path, or *"),
        );
    }
    origins
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
