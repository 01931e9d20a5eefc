//! Finds cameras of a network and asks them where their pictures are: WS-Discovery, and the device and media services of ONVIF.
//!
//! Nobody is asked but on the networks that the operator names, and of those who answer only the host itself from which the
//! answer came, by plain HTTP. What they say is bounded in size, in number and in time, and is shown before it is used.

mod device;
mod probe;
mod soap;

use std::{fmt, fs, io, net::Ipv4Addr, path::Path, str::FromStr};

use anyhow::{Context as _, ensure};
use framebridge_config::{Address, Source};
use framebridge_proto::plain;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::task::JoinSet;

/// A name that a camera gives itself, characters: what fits in a line beside the rest.
const LONGEST_NAME: usize = 60;

/// Where to look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Network {
    /// What is reached by an interface of this machine.
    Interface(String),
    /// The addresses whose first `prefix` bits are those of `first`.
    Range { first: Ipv4Addr, prefix: u8 },
}

impl Network {
    /// Whether it is that address and no other.
    pub(crate) fn is_only(&self, address: Ipv4Addr) -> bool {
        let (first, prefix) = (address, 32);
        *self == Self::Range { first, prefix }
    }
}

/// The bits of a prefix.
fn mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

/// Addresses that begin alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Block {
    first: Ipv4Addr,
    mask: u32,
}

impl Block {
    fn has(&self, address: Ipv4Addr) -> bool {
        (address.to_bits() ^ self.first.to_bits()) & self.mask == 0
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let odd = || {
            format!(
                "`{text}` is no network: use an interface like eth0, or addresses like 192.168.1.0/24 or 192.168.1.7"
            )
        };
        if text.contains(':') || text.contains('[') {
            return Err(format!(
                "`{text}`: cameras are looked for by IPv4, e.g. in 192.168.1.0/24 or on eth0"
            ));
        }
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (
                address.parse::<Ipv4Addr>().map_err(|_| odd())?,
                prefix.parse().map_err(|_| odd())?,
            ),
            None => match text.parse() {
                Ok(address) => (address, 32),
                // As long as the kernel lets it be.
                Err(_) if (1..=15).contains(&text.len()) && !text.contains(char::is_whitespace) => {
                    return Ok(Self::Interface(text.to_owned()));
                }
                Err(_) => return Err(odd()),
            },
        };
        if !(1..=32).contains(&prefix) || address.is_multicast() {
            return Err(odd());
        }
        let first = Ipv4Addr::from_bits(address.to_bits() & mask(prefix));
        Ok(Self::Range { first, prefix })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interface(name) => f.write_str(name),
            Self::Range { first, prefix: 32 } => write!(f, "{first}"),
            Self::Range { first, prefix } => write!(f, "{first}/{prefix}"),
        }
    }
}

/// Who asks.
#[derive(Clone)]
pub(crate) struct Login {
    user: String,
    password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

impl Login {
    /// Reads `user:password`, the first line of a file or of standard input: an argument is seen by everybody on the machine.
    ///
    /// # Errors
    /// It can't be read, or says no user.
    pub(crate) fn read(file: &Path) -> anyhow::Result<Self> {
        let text = if file == Path::new("-") {
            let mut line = String::new();
            io::stdin().read_line(&mut line)?;
            line
        } else {
            fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?
        };
        let line = text.lines().next().unwrap_or_default();
        let (user, password) = line.split_once(':').unwrap_or((line, ""));
        ensure!(
            !user.is_empty(),
            "{}: its first line has to be user:password",
            file.display()
        );
        let (user, password) = (user.to_owned(), password.to_owned());
        Ok(Self { user, password })
    }

    /// The address with this user and password in it, if it has none of its own.
    fn added_to(&self, url: &str) -> String {
        let quoted = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
        match url.split_once("://") {
            Some((scheme, rest)) if Address::of(url).is_some_and(|address| address.userinfo.is_none()) => {
                format!("{scheme}://{}:{}@{rest}", quoted(&self.user), quoted(&self.password))
            }
            _ => url.to_owned(),
        }
    }
}

/// A camera that has answered.
#[derive(Debug)]
pub(crate) struct Camera {
    pub(crate) host: Ipv4Addr,
    /// What it calls itself.
    pub(crate) name: Option<String>,
    /// Its pictures, the best to show first; or why they are not known.
    pub(crate) pictures: Result<Vec<Picture>, String>,
}

impl Camera {
    /// Its address, and what it calls itself.
    pub(crate) fn title(&self) -> String {
        match &self.name {
            Some(name) => format!("{} ({name})", self.host),
            None => self.host.to_string(),
        }
    }
}

/// One of the ways in which a camera gives its pictures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Picture {
    /// What the camera calls it, its codec and its size, as far as it says.
    pub(crate) label: String,
    pub(crate) source: Source,
}

/// All cameras that answer, by their addresses.
///
/// # Errors
/// A network can't be asked: there is no such interface, or it is too large.
pub(crate) async fn discover(networks: &[Network], login: Option<&Login>) -> anyhow::Result<Vec<Camera>> {
    let mut asked = JoinSet::new();
    for answer in probe::answers(networks).await? {
        let login = login.cloned();
        asked.spawn(async move {
            let pictures = device::pictures(&answer, login.as_ref()).await;
            Camera {
                host: answer.host,
                name: answer.name.map(|name| plain(&name, LONGEST_NAME)),
                pictures: pictures.map_err(|error| format!("{error:#}")),
            }
        });
    }
    let mut cameras = asked.join_all().await;
    cameras.sort_by_key(|camera| camera.host);
    Ok(cameras)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_read_as_people_write_them() {
        for (text, shown) in [
            ("eth0", "eth0"),
            ("br-lan.7", "br-lan.7"),
            ("192.168.1.0/24", "192.168.1.0/24"),
            ("192.168.1.77/24", "192.168.1.0/24"),
            ("192.168.1.7", "192.168.1.7"),
        ] {
            assert_eq!(text.parse::<Network>().unwrap().to_string(), shown);
        }
        for text in [
            "",
            "a b",
            "192.168.1.0/33",
            "192.168.1.0/0",
            "192.168.1.0/x",
            "a/24",
            "fe80::1",
            "[::1]",
            "239.255.255.250",
            "an-interface-of-20-x",
        ] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
        let one: Network = "192.168.1.9".parse().unwrap();
        assert!(one.is_only(Ipv4Addr::new(192, 168, 1, 9)) && !one.is_only(Ipv4Addr::new(192, 168, 1, 8)));
        let many: Network = "192.168.1.9/24".parse().unwrap();
        assert!(!many.is_only(Ipv4Addr::new(192, 168, 1, 0)));
    }

    #[test]
    fn login_is_put_into_an_address_and_never_shown() {
        let login = Login {
            user: "admin".to_owned(),
            password: "p@ss/1".to_owned(),
        };
        let url = login.added_to("rtsp://192.0.2.7/live?a=1");
        assert_eq!(url, "rtsp://admin:p%40ss%2F1@192.0.2.7/live?a=1");
        assert_eq!(Address::of(&url).unwrap().credentials().unwrap().1, "p@ss/1");
        assert_eq!(login.added_to("rtsp://own:1@192.0.2.7/x"), "rtsp://own:1@192.0.2.7/x");
        assert!(!format!("{login:?}").contains("p@ss"));
    }

    #[test]
    fn login_comes_from_the_first_line_of_a_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "admin:a:b\nmore\n").unwrap();
        let login = Login::read(file.path()).unwrap();
        assert_eq!((&*login.user, &*login.password), ("admin", "a:b"));
        fs::write(file.path(), "\n").unwrap();
        assert!(Login::read(file.path()).is_err());
        assert!(Login::read(Path::new("/nonexistent")).is_err());
    }
}
