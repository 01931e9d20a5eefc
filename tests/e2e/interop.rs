//! Every make of player plays: with each profile it knows, over both families, with its candidates in the offer and
//! trickled after it.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    thread,
};

use framebridge_tests::{
    http::{Request, Response},
    player::{Make, Player, Profile, Seen},
    system::System,
};

/// A second of them: pictures that lean on each other, not only the first.
const PICTURES: u32 = 30;

/// One way to be watched.
#[derive(Debug, Clone, Copy)]
struct Case {
    make: Make,
    profile: Profile,
    address: IpAddr,
    trickles: bool,
}

/// All ways of one player, by itself: over either family, with its candidates in the offer and after it.
fn cases(make: Make, profile: Profile) -> impl Iterator<Item = Case> {
    let families = [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()];
    families.into_iter().flat_map(move |address| {
        [false, true].map(|trickles| Case {
            make,
            profile,
            address,
            trickles,
        })
    })
}

#[test]
fn every_make_plays_with_either_profile_over_both_families_with_and_without_trickle() {
    // So small that a busy machine has no reason to make it smaller.
    let system = &System::start_with(&[("test", "test:")], "[video]\nlongest_edge = 320").unwrap();
    for make in Make::ALL {
        for &profile in make.profiles() {
            // A make's start takes longer than what it shows: they start side by side.
            thread::scope(|scope| {
                for case in cases(make, profile) {
                    scope.spawn(move || assert_plays(system, case));
                }
            });
        }
    }
}

fn assert_plays(system: &System, case: Case) {
    let seen = play(system, case).unwrap_or_else(|error| panic!("{case:?}: {error:#}"));
    let expected = Seen {
        size: (320, 180),
        profile: case.profile.to_owned(),
    };
    assert_eq!(seen, expected, "{case:?}");
}

fn play(system: &System, case: Case) -> anyhow::Result<Seen> {
    let mut player = Player::start(case.make, case.address, case.profile)?;
    let offer = at(case.address, &player.offer()?);
    let bare: Vec<&str> = offer.lines().filter(|line| !is_candidate(line)).collect();
    let offered = if case.trickles { lines(&bare) } else { offer.clone() };
    let joined = ask(
        system,
        Request::new("POST", "/whep/test").body("application/sdp", offered),
        201,
    );
    let session = joined.header("location").unwrap();
    if case.trickles {
        let patch = Request::new("PATCH", session)
            .header("if-match", joined.header("etag").unwrap())
            .body("application/trickle-ice-sdpfrag", fragment(&offer));
        ask(system, patch, 204);
    }
    let seen = player.play(&at(case.address, &joined.text()), PICTURES)?;
    ask(system, Request::new("DELETE", session), 200);
    Ok(seen)
}

#[track_caller]
fn ask(system: &System, request: Request<'_>, status: u16) -> Response {
    let answer = request.send(system.http()).unwrap();
    assert_eq!(answer.status, status, "{}", answer.text());
    answer
}

/// What is left of an offer when only its candidates are of interest: of each section, for it depends on how they are
/// bundled whose transport is used.
fn fragment(offer: &str) -> String {
    const PARTS: [&str; 5] = ["m=", "a=mid:", "a=ice-ufrag:", "a=ice-pwd:", "a=candidate:"];
    let sections = offer.lines().skip_while(|line| !line.starts_with("m="));
    let parts = sections.filter(|line| PARTS.iter().any(|part| line.starts_with(part)));
    lines(&parts.chain(["a=end-of-candidates"]).collect::<Vec<_>>())
}

fn is_candidate(line: &str) -> bool {
    line.starts_with("a=candidate:") || line == "a=end-of-candidates"
}

/// A description without the candidates of other addresses: neither end learns of a way round the one that is tried. Names
/// stay, as a browser hides its addresses behind them, and nobody here resolves them.
fn at(address: IpAddr, sdp: &str) -> String {
    let elsewhere = |line: &str| {
        let ip = line
            .strip_prefix("a=candidate:")
            .and_then(|line| line.split(' ').nth(4));
        ip.and_then(|ip| ip.parse().ok())
            .is_some_and(|ip: IpAddr| ip != address)
    };
    lines(&sdp.lines().filter(|line| !elsewhere(line)).collect::<Vec<_>>())
}

fn lines(lines: &[&str]) -> String {
    lines.iter().flat_map(|line| [*line, "\r\n"]).collect()
}
