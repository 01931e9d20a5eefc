//! `bridgectl certificate self-signed`

use std::{
    collections::BTreeSet,
    fs,
    io::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use anyhow::Context as _;
use framebridge_auth::self_signed;
use framebridge_daemon::since_epoch;
use serde_json::json;

use crate::{cli, exit::Exit, out::Out};

/// A clock that is behind ours takes it, too.
const EARLIER: u64 = 24 * 3600;

/// A certificate that was made.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) certificate: String,
    pub(super) key: String,
    names: Vec<String>,
    addresses: Vec<String>,
}

pub(crate) fn run(asked: cli::Certificate, out: Out) -> anyhow::Result<Exit> {
    let cli::Certificate::SelfSigned {
        out: folder,
        names,
        expires,
    } = asked;
    let Made {
        certificate,
        key,
        names,
        addresses,
    } = make(&folder, names, expires)?;
    let text = format!(
        "for {}, {}\n\n[http.tls]\ncertificate = {certificate:?}\nkey = {key:?}\n\n\
         Browsers will warn until each of them is told to trust it: nobody vouches for it but itself.",
        names.join(", "),
        addresses.join(", "),
    );
    out.tell(
        &text,
        &json!({ "certificate": certificate, "key": key, "names": names, "addresses": addresses }),
    )?;
    Ok(Exit::Ok)
}

/// Makes one for this machine's names and addresses and for `names`, that holds for so many seconds, in `folder`.
pub(super) fn make(folder: &Path, names: Vec<String>, expires: u64) -> anyhow::Result<Made> {
    let now = since_epoch().as_secs();
    let (mut all, mut addresses) = (own_names(), own_addresses());
    for name in names {
        match name.parse() {
            Ok(address) => {
                addresses.insert(address);
            }
            Err(_name) => all.insert(0, name),
        }
    }
    let listed: Vec<IpAddr> = addresses.iter().copied().collect();
    let made = self_signed(&all, &listed, now.saturating_sub(EARLIER), now.saturating_add(expires))?;
    let (certificate, key) = (folder.join("tls.crt"), folder.join("tls.key"));
    write(&key, &made.key, 0o600)?;
    write(&certificate, &made.certificate, 0o644)?;
    let path = |path: &Path| fs::canonicalize(path).unwrap_or(path.to_owned()).display().to_string();
    Ok(Made {
        certificate: path(&certificate),
        key: path(&key),
        names: all,
        addresses: listed.iter().map(IpAddr::to_string).collect(),
    })
}

fn write(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    let writing = || format!("writing {}", path.display());
    let fresh = path.with_extension("new");
    // What may have been left by one that was interrupted has a mode of its own.
    _ = fs::remove_file(&fresh);
    let mut options = fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&fresh)
        .with_context(writing)?;
    file.write_all(text.as_bytes()).with_context(writing)?;
    fs::rename(&fresh, path).with_context(writing)
}

/// What this machine calls itself.
fn own_names() -> Vec<String> {
    let system = rustix::system::uname();
    let full = system.nodename().to_string_lossy().to_ascii_lowercase();
    let label = full.split('.').next().unwrap_or_default().to_owned();
    let mut names: Vec<String> = Vec::new();
    for name in [full, label.clone(), format!("{label}.local"), "localhost".to_owned()] {
        if !name.is_empty() && !name.starts_with('.') && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Its addresses, as the kernel lists them; loopback always.
fn own_addresses() -> BTreeSet<IpAddr> {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let mut addresses = BTreeSet::from([Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
    addresses.extend(local_v4(&read("/proc/net/fib_trie")));
    addresses.extend(local_v6(&read("/proc/net/if_inet6")));
    addresses
}

/// `|-- ADDRESS`, and below it `/32 host LOCAL`.
fn local_v4(trie: &str) -> BTreeSet<IpAddr> {
    let lines: Vec<&str> = trie.lines().map(str::trim).collect();
    let pairs = lines.windows(2).filter(|pair| pair[1] == "/32 host LOCAL");
    let addresses = pairs.filter_map(|pair| pair[0].strip_prefix("|-- ")?.parse().ok());
    addresses.collect()
}

/// 32 digits, the interface's number, the prefix's length, the scope (00: everywhere), flags, the interface's name.
fn local_v6(table: &str) -> BTreeSet<IpAddr> {
    let everywhere = table.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let digits = u128::from_str_radix(words.next()?, 16).ok()?;
        (words.nth(2)? == "00").then(|| IpAddr::from(Ipv6Addr::from_bits(digits)))
    });
    everywhere.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_the_kernel_lists_them() {
        let trie = "  +-- 10.0.0.0/8 2 0 2\n     |-- 10.0.0.7\n        /32 host LOCAL\n     |-- 10.255.255.255\n        /32 link BROADCAST\n";
        assert_eq!(local_v4(trie), BTreeSet::from([IpAddr::from([10, 0, 0, 7])]));
        let table =
            "fe800000000000000000000000000001 02 40 20 80 eth0\n20010db8000000000000000000000007 02 40 00 80 eth0\n";
        let address: IpAddr = "2001:db8::7".parse().unwrap();
        assert_eq!(local_v6(table), BTreeSet::from([address]));
    }

    #[test]
    fn key_is_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let asked = cli::Certificate::SelfSigned {
            out: folder.path().to_owned(),
            names: vec!["live.example".into(), "192.0.2.9".into()],
            expires: 3600,
        };
        run(asked, Out { json: false }).unwrap();
        let mode = fs::metadata(folder.path().join("tls.key"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(folder.path().join("tls.crt").is_file());
    }
}
