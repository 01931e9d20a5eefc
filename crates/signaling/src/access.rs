//! Who asks: the principal behind each request, and the tokens that there are.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    net::IpAddr,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    str::FromStr as _,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use axum::http::{HeaderMap, Request, header};
use framebridge_auth::{
    Cidr, CookieKey, Issuer, JwtError, KeySet, Origin, Principal, Register, Scope, Streams, UnixTime, rate_key,
};
use framebridge_config::{AuthMode, Http};
use framebridge_core::rate_limit::RateLimit;
use framebridge_daemon::since_epoch;
use framebridge_http::Transport;
use framebridge_ipc::RuntimeDir;
use framebridge_proto::bridge::{ACCESS, SEEN_AS, SharedAccess};
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::{client, reloaded::Reloaded};

/// A wrong token costs its sender one of so many ...
const WRONG_BURST: u32 = 5;
/// ... which come back one by one: a person mistypes, a program that guesses is told to wait.
const WRONG_EVERY: Duration = Duration::from_secs(2);
/// Addresses whose wrong tokens are remembered.
const WRONG_KEYS: usize = 4096;

/// How long a cookie holds. A display on a wall shows pictures for weeks, and who takes away its token ends it at once.
pub(crate) const COOKIE_LIFE: Duration = Duration::from_secs(30 * 24 * 3600);
/// One that is older than this is given anew, so that whoever keeps watching stays in.
const COOKIE_RENEWAL: Duration = Duration::from_secs(24 * 3600);

/// A link has to be opened within so long.
pub(crate) const LINK_LIFE: Duration = Duration::from_secs(300);
/// Links that wait to be opened; the oldest goes for the next.
const MOST_LINKS: usize = 64;

/// The key that cookies are signed with: in the runtime directory, so that whoever was let in stays in whatever dies.
const KEY_FILE: &str = "cookie.key";

/// Who may ask.
#[derive(Debug)]
pub(crate) struct Access {
    /// Whether one has to say who one is.
    pub(crate) asks_for_tokens: bool,
    /// What nobody needs a token for, where others need one.
    open: Option<Scope>,
    pub(crate) trusted: Vec<Cidr>,
    tokens: Option<Reloaded<Register>>,
    /// The identity provider, and its keys.
    provider: Option<(Issuer, Reloaded<KeySet>)>,
    cookies: CookieKey,
    cookie_name: String,
    wrong: Mutex<RateLimit<IpAddr>>,
    /// Refusals that are worth a line, likewise.
    told: Mutex<RateLimit<IpAddr>>,
    links: Mutex<Vec<Link>>,
}

/// A link that waits to be opened.
#[derive(Debug)]
struct Link {
    code: String,
    until: UnixTime,
    principal: Principal,
}

/// Who asks.
#[derive(Debug)]
pub(crate) struct Asker {
    pub(crate) principal: Principal,
    /// It was known by its cookie, which any page in its browser could have had sent.
    pub(crate) by_cookie: bool,
    /// The cookie to give it anew.
    pub(crate) renewed: Option<String>,
}

/// Why it is not known who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unknown {
    /// Nothing was shown that is good for anything now.
    Nobody,
    /// A token was shown that is none.
    WrongToken,
    /// So many that its sender has to wait.
    TooMany(Duration),
    /// Its provider says who that is, and nothing of what it opens here.
    NoScope,
}

impl Access {
    /// Reads the tokens, and the key of a life before or a new one.
    pub(crate) fn load(http: &Http, dir: &RuntimeDir, port: u16) -> anyhow::Result<Self> {
        let asks_for_tokens = http.auth.mode == AuthMode::Token;
        let tokens = http.auth.tokens.clone().filter(|_| asks_for_tokens);
        let tokens = tokens.map(|path| Reloaded::load("http.auth.tokens", path, read_register));
        let tokens = tokens.transpose()?;
        let provider = match &http.auth.jwt {
            Some(jwt) => {
                let keys = Reloaded::load("http.auth.jwt.keys", jwt.keys.clone(), read_keys)?;
                Some((jwt.issuer.clone(), keys))
            }
            None => None,
        };
        let nobody_has_one = provider.is_none() && tokens.as_ref().is_some_and(|tokens| tokens.get().rows().is_empty());
        if nobody_has_one && http.auth.open.is_none() {
            tracing::warn!("there is no token yet, so nobody is let in: `bridgectl token new NAME --scope view`");
        }
        Ok(Self {
            asks_for_tokens,
            tokens,
            provider,
            open: http.auth.open,
            trusted: http.trusted_proxies.clone(),
            cookies: CookieKey::new(&cookie_key(&dir.path().join(KEY_FILE))),
            // A browser sends cookies to all ports of a host: two Framebridges on one must not overwrite each other's.
            cookie_name: format!("framebridge-{port}"),
            wrong: Mutex::new(RateLimit::new(WRONG_BURST, WRONG_EVERY, WRONG_KEYS)),
            told: Mutex::new(RateLimit::new(WRONG_BURST, WRONG_EVERY, WRONG_KEYS)),
            links: Mutex::default(),
        })
    }

    /// Whether nobody may watch without.
    pub(crate) fn keeps_strangers_out(&self) -> bool {
        self.asks_for_tokens && self.open.is_none()
    }

    /// Who sent `request`, whose claims about others count only on our own socket and are taken out otherwise.
    pub(crate) fn identify<B>(&self, request: &mut Request<B>) -> Result<Asker, Unknown> {
        let address = client::address(request);
        let known = |principal| Asker {
            principal,
            by_cookie: false,
            renewed: None,
        };
        if client::transport(request) == Transport::Local {
            return match request.headers().get(ACCESS) {
                None => Ok(known(Principal::local())),
                Some(said) => {
                    let access = said.to_str().ok().and_then(|said| SharedAccess::from_str(said).ok());
                    let access = access.ok_or(Unknown::Nobody)?;
                    let scope = if access.control { Scope::Control } else { Scope::View };
                    Ok(known(Principal::of_share(scope, Streams::only(access.stream))))
                }
            };
        }
        for ours in [ACCESS, SEEN_AS] {
            request.headers_mut().remove(ours);
        }
        if !self.asks_for_tokens {
            let is_here = address.is_loopback();
            return Ok(known(if is_here {
                Principal::local()
            } else {
                Principal::anyone(Scope::Admin)
            }));
        }
        match bearer(request.headers()) {
            Some(token) => self.holder(token, address).map(known),
            None => self
                .known_by_cookie(request.headers())
                .or_else(|unknown| self.open.map(|scope| known(Principal::anyone(scope))).ok_or(unknown)),
        }
    }

    /// Whose token it is. Who shows wrong ones from `address` is told to wait; who shows a good one never is.
    pub(crate) fn holder(&self, token: &str, address: IpAddr) -> Result<Principal, Unknown> {
        let now = now();
        let ours = self.tokens.as_ref().and_then(|tokens| {
            tokens.get().find(token, now).or_else(|| {
                // One that was made this moment is good at once.
                tokens.refresh();
                tokens.get().find(token, now)
            })
        });
        let why = match (ours, &self.provider) {
            (Some(holder), _) => return Ok(holder),
            (None, Some((issuer, keys))) if Issuer::may_have_made(token) => {
                match issuer.holder(token, &keys.get(), now) {
                    Ok(holder) => return Ok(holder),
                    Err(JwtError::NoScope) => return Err(Unknown::NoScope),
                    Err(error) => error.to_string(),
                }
            }
            (None, _) => "it is not known here, or has ended".to_owned(),
        };
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        match wrong.take(rate_key(address), Instant::now()) {
            Ok(()) => {
                tracing::warn!(target: "audit", %address, why, "a wrong token was refused");
                Err(Unknown::WrongToken)
            }
            Err(wait) => Err(Unknown::TooMany(wait)),
        }
    }

    /// Whether a refusal of somebody at `address` is worth a line: the log is not to be filled from outside.
    pub(crate) fn is_news(&self, address: IpAddr) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.take(rate_key(address), Instant::now()).is_ok()
    }

    fn known_by_cookie(&self, headers: &HeaderMap) -> Result<Asker, Unknown> {
        let register = self.tokens.as_ref().map(Reloaded::get).unwrap_or_default();
        let now = now();
        let found = self
            .cookie_in(headers)
            .find_map(|cookie| self.cookies.read(cookie, &register, now))
            .filter(|(principal, _)| self.is_good(principal));
        let (principal, until) = found.ok_or(Unknown::Nobody)?;
        let is_old = until < now + (COOKIE_LIFE - COOKIE_RENEWAL).as_secs();
        let renewed = (is_old && principal.expires != Some(until))
            .then(|| self.bake(&principal))
            .flatten();
        Ok(Asker {
            principal,
            by_cookie: true,
            renewed,
        })
    }

    fn cookie_in<'a>(&'a self, headers: &'a HeaderMap) -> impl Iterator<Item = &'a str> {
        let all = headers.get_all(header::COOKIE).iter();
        let pairs = all
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(';'));
        pairs.filter_map(|pair| {
            let (name, value) = pair.trim().split_once('=')?;
            (name.strip_prefix("__Host-").unwrap_or(name) == self.cookie_name).then_some(value)
        })
    }

    /// A cookie that says who `principal` is.
    pub(crate) fn bake(&self, principal: &Principal) -> Option<String> {
        self.cookies.bake(principal, now() + COOKIE_LIFE.as_secs())
    }

    /// The value of `Set-Cookie`; an empty `cookie` takes it away. `Lax`: whoever follows a link to a page here is known, and
    /// nothing that changes anything may come from elsewhere anyway.
    pub(crate) fn set_cookie(&self, cookie: &str, is_secure: bool) -> String {
        let age = if cookie.is_empty() { 0 } else { COOKIE_LIFE.as_secs() };
        let (prefix, secure) = if is_secure { ("__Host-", "; Secure") } else { ("", "") };
        format!(
            "{prefix}{}={cookie}; Path=/; Max-Age={age}; HttpOnly; SameSite=Lax{secure}",
            self.cookie_name
        )
    }

    /// Makes a one-time link's code, for whoever opens it first.
    pub(crate) fn make_link(&self, scope: Scope, streams: Streams, life: Duration) -> String {
        let code = hex(&random::<16>());
        let now = now();
        let link = Link {
            code: code.clone(),
            until: now + LINK_LIFE.as_secs(),
            principal: Principal::of_link(hex(&random::<4>()), scope, streams, now + life.as_secs()),
        };
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        links.retain(|link| link.until > now);
        if links.len() >= MOST_LINKS {
            links.remove(0);
        }
        links.push(link);
        code
    }

    /// Opens a link, which is gone then. A wrong code counts as a wrong token.
    pub(crate) fn open_link(&self, code: &str, address: IpAddr) -> Result<Principal, Unknown> {
        let now = now();
        let opened = {
            let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
            links.retain(|link| link.until > now);
            let same = |link: &Link| framebridge_auth::secrets_match(link.code.as_bytes(), code.as_bytes());
            links.iter().position(same).map(|at| links.remove(at))
        };
        match opened {
            Some(link) => Ok(link.principal),
            None => self.holder(code, address),
        }
    }

    /// Whether `principal` may still watch what it was let in to.
    pub(crate) fn is_good(&self, principal: &Principal) -> bool {
        let now = now();
        match &principal.origin {
            Origin::Local | Origin::Share | Origin::Push { .. } => true,
            Origin::Anyone => !self.asks_for_tokens || self.open.is_some(),
            Origin::Link { .. } => !principal.has_expired(now),
            Origin::Jwt { .. } => self.provider.is_some() && !principal.has_expired(now),
            Origin::Token { id, .. } => {
                let known = self.tokens.as_ref().and_then(|tokens| tokens.get().of(id, now));
                known.is_some_and(|known| known.scope.includes(principal.scope) && known.streams == principal.streams)
            }
        }
    }

    /// Reads the files of tokens and keys again, if they have changed.
    pub(crate) fn refresh(&self) {
        if let Some(tokens) = &self.tokens {
            tokens.refresh();
        }
        if let Some((_, keys)) = &self.provider {
            keys.refresh();
        }
    }
}

/// A file that is not there has no tokens.
fn read_register(text: Option<&str>) -> anyhow::Result<Register> {
    Ok(text.map(Register::parse).transpose()?.unwrap_or_default())
}

fn read_keys(text: Option<&str>) -> anyhow::Result<KeySet> {
    Ok(KeySet::parse(text.context("there is no such file")?)?)
}

/// The token of `Authorization: Bearer` (RFC 6750, section 2.1).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The key in `path`; a new one where there is none that is whole. A full disk keeps nobody from watching.
fn cookie_key(path: &Path) -> [u8; 32] {
    let mut key = [0; 32];
    let read = fs::File::open(path).and_then(|mut file| file.read_exact(&mut key));
    if read.is_ok() {
        return key;
    }
    let key = random::<32>();
    if let Err(error) = keep_key(path, &key) {
        tracing::warn!(%error, "{}: logins end with this process", path.display());
    }
    key
}

fn keep_key(path: &Path, key: &[u8; 32]) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let mut options = fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&fresh)?;
    file.write_all(key)?;
    fs::rename(fresh, path)
}

/// Bytes that nobody can guess.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .expect("the system's random source answers");
    bytes
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Seconds since the Unix epoch.
pub(crate) fn now() -> UnixTime {
    since_epoch().as_secs()
}
