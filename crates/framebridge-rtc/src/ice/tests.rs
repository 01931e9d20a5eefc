use super::*;

const OURS: Path = Path {
    socket: 0,
    source: None,
    remote: SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9),
};

fn credentials(name: &str) -> Credentials {
    Credentials {
        ufrag: name.to_owned(),
        password: format!("{name}-password-password-password"),
    }
}

fn agent() -> Agent {
    Agent::new(credentials("ours"), credentials("them"), vec![(0, true), (1, false)])
}

fn path(port: u16) -> Path {
    Path {
        remote: SocketAddr::new(OURS.remote.ip(), port),
        ..OURS
    }
}

/// A check from the viewer.
fn request(to: &Credentials, from: &Credentials, priority: u32, nominate: bool) -> Stun {
    let check = Check {
        ufrags: (&to.ufrag, &from.ufrag),
        password: &to.password,
        role: IceRole::Controlling,
        priority,
        nominate,
    };
    Stun::decode(&check.encode().1).unwrap()
}

/// Everything the agent wants sent, decoded.
fn drain(agent: &mut Agent) -> Vec<(Path, Stun)> {
    std::iter::from_fn(|| agent.poll_transmit())
        .map(|(path, datagram)| (path, Stun::decode(&datagram).unwrap()))
        .collect()
}

/// Answers every request the agent sends, as the viewer would; returns what the agent made of the last answer.
fn answer_checks(agent: &mut Agent, now: Instant) -> Heard {
    let mut heard = Heard::Nothing;
    for (path, mut message) in drain(agent) {
        if message.kind() == Some(Kind::Request) {
            assert!(message.is_authentic("them-password-password-password"));
            assert_eq!(message.role(), Some(IceRole::Controlled));
            let answer = stun::success(message.transaction(), path.remote, "them-password-password-password");
            heard = agent.handle(Stun::decode(&answer).unwrap(), path, now);
        }
    }
    heard
}

#[test]
fn a_nominated_pair_is_selected_once_our_own_check_came_back() {
    let (mut agent, now) = (agent(), Instant::now());
    let heard = agent.handle(
        request(&credentials("ours"), &credentials("them"), 100, true),
        path(1),
        now,
    );
    assert_eq!(heard, Heard::Alive, "not before the way back is proven");
    assert_eq!(agent.selected(), None);
    assert_eq!(answer_checks(&mut agent, now), Heard::Selected(path(1)));
    assert_eq!(agent.selected(), Some(path(1)));
    assert!(
        agent.poll_timeout().unwrap() > now + Duration::from_secs(3),
        "only consent is left to do"
    );
}

#[test]
fn nomination_after_the_check_selects_too() {
    let (mut agent, now) = (agent(), Instant::now());
    agent.handle(
        request(&credentials("ours"), &credentials("them"), 100, false),
        path(1),
        now,
    );
    assert_eq!(answer_checks(&mut agent, now), Heard::Alive);
    let heard = agent.handle(
        request(&credentials("ours"), &credentials("them"), 100, true),
        path(1),
        now,
    );
    assert_eq!(heard, Heard::Selected(path(1)));
}

#[test]
fn strangers_get_no_answer() {
    let (mut agent, now) = (agent(), Instant::now());
    let wrong_password = Credentials {
        password: "x".repeat(22),
        ..credentials("ours")
    };
    for (to, from) in [
        (wrong_password, credentials("them")),
        (credentials("other"), credentials("them")),
        (credentials("ours"), credentials("other")),
    ] {
        assert_eq!(agent.handle(request(&to, &from, 1, true), path(1), now), Heard::Nothing);
    }
    assert!(drain(&mut agent).is_empty());
}

#[test]
fn a_controlled_peer_is_told_to_control() {
    let (mut agent, now) = (agent(), Instant::now());
    let check = Check {
        ufrags: ("ours", "them"),
        password: "ours-password-password-password",
        role: IceRole::Controlled,
        priority: 1,
        nominate: false,
    };
    agent.handle(Stun::decode(&check.encode().1).unwrap(), path(1), now);
    assert_eq!(drain(&mut agent).pop().unwrap().1.kind(), Some(Kind::Error));
}

#[test]
fn offered_candidates_are_checked_in_turn_and_given_up() {
    let (mut agent, start) = (agent(), Instant::now());
    for port in 1..=3 {
        agent.add_remote(path(port).remote, 5, start);
    }
    agent.add_remote("[::1]:4".parse().unwrap(), 5, start);
    let (mut now, mut sent) = (start, Vec::new());
    let mut pacer = Pacer::new(start);
    while let Some(due) = agent.poll_timeout() {
        now = now.max(due);
        agent.handle_timeout(&mut pacer, now);
        sent.extend(drain(&mut agent).into_iter().map(|(path, _)| (now, path)));
        assert!(now < start + Duration::from_secs(60), "it ends");
    }
    assert_eq!(sent.len(), 4 * MAX_CHECKS as usize);
    assert!(sent.windows(2).all(|two| two[1].0 - two[0].0 >= PACE), "paced");
    assert!(sent.iter().all(|(_, path)| (path.socket == 1) == path.remote.is_ipv6()));
    // A check from the other end revives a pair that was given up.
    agent.handle(
        request(&credentials("ours"), &credentials("them"), 5, false),
        path(1),
        now,
    );
    assert_eq!(drain(&mut agent).len(), 2, "an answer and a check");
}

#[test]
fn candidates_beyond_the_limit_are_ignored() {
    let (mut agent, now) = (agent(), Instant::now());
    for port in 1..=1000 {
        agent.add_remote(path(port).remote, 5, now);
    }
    assert_eq!(agent.pairs.len(), MAX_PAIRS);
}

#[test]
fn a_viewer_whose_address_keeps_changing_is_followed() {
    let (mut agent, mut now) = (agent(), Instant::now());
    for port in 1..=100 {
        let check = request(&credentials("ours"), &credentials("them"), 100, true);
        agent.handle(check, path(port), now);
        assert_eq!(answer_checks(&mut agent, now), Heard::Selected(path(port)));
        assert!(agent.pairs.len() <= MAX_PAIRS);
        now += NOMINATION_STALE;
    }
}

#[test]
fn a_better_nomination_wins_and_a_worse_one_only_over_a_stale_path() {
    let (mut agent, now) = (agent(), Instant::now());
    let nominate = |agent: &mut Agent, port: u16, priority: u32, now: Instant| {
        let heard = agent.handle(
            request(&credentials("ours"), &credentials("them"), priority, true),
            path(port),
            now,
        );
        if let Heard::Selected(_) = heard {
            heard
        } else {
            answer_checks(agent, now)
        }
    };
    assert_eq!(nominate(&mut agent, 1, 10, now), Heard::Selected(path(1)));
    assert_eq!(nominate(&mut agent, 2, 20, now), Heard::Selected(path(2)));
    nominate(&mut agent, 1, 10, now);
    assert_eq!(agent.selected(), Some(path(2)));
    let later = now + NOMINATION_STALE;
    assert_eq!(nominate(&mut agent, 1, 10, later), Heard::Selected(path(1)));
}

#[test]
fn consent_is_asked_for_within_rfc_7675s_bounds() {
    let (mut agent, mut now) = (agent(), Instant::now());
    agent.resume(path(1), now);
    let mut pacer = Pacer::new(now);
    for _ in 0..20 {
        let due = agent.poll_timeout().unwrap();
        assert!((Duration::from_secs(4)..=Duration::from_secs(6)).contains(&(due - now)));
        now = due;
        assert!(agent.handle_timeout(&mut pacer, now));
        assert_eq!(answer_checks(&mut agent, now), Heard::Alive);
    }
}

#[test]
fn consent_ends_30_seconds_after_the_last_answer_on_the_path_in_use() {
    let (mut agent, start) = (agent(), Instant::now());
    agent.resume(path(1), start);
    let mut pacer = Pacer::new(start);
    // The viewer is alive elsewhere, and answers from there; nobody answers for the path in use.
    let now = loop {
        let now = agent.poll_timeout().unwrap();
        let has_consent = agent.handle_timeout(&mut pacer, now);
        for (_, message) in drain(&mut agent).into_iter().filter(|(to, _)| *to == path(1)) {
            let answer = stun::success(message.transaction(), OURS.remote, "them-password-password-password");
            let heard = agent.handle(Stun::decode(&answer).unwrap(), path(2), now);
            assert_eq!(heard, Heard::Nothing, "an answer comes from where the check went");
        }
        let check = request(&credentials("ours"), &credentials("them"), 1, false);
        assert_eq!(agent.handle(check, path(2), now), Heard::Alive);
        drain(&mut agent);
        if !has_consent {
            break now;
        }
        assert_eq!(agent.selected(), Some(path(1)));
    };
    assert_eq!((now - start, agent.selected()), (consent::EXPIRY, None));
    // A nomination alone does not bring it back, a check that is answered does.
    let check = request(&credentials("ours"), &credentials("them"), 100, true);
    assert_eq!(agent.handle(check, path(1), now), Heard::Alive);
    assert_eq!(agent.selected(), None);
    assert_eq!(answer_checks(&mut agent, now), Heard::Selected(path(1)));
}

#[test]
fn consent_lives_on_answers_that_take_longer_than_the_time_between_checks() {
    let (mut agent, start) = (agent(), Instant::now());
    agent.resume(path(1), start);
    let (mut now, mut pacer, mut under_way) = (start, Pacer::new(start), Vec::new());
    while now < start + consent::EXPIRY * 4 {
        now = agent.poll_timeout().unwrap();
        assert!(agent.handle_timeout(&mut pacer, now), "after {:?}", now - start);
        under_way.extend(drain(&mut agent));
        if under_way.len() > 2 {
            let (path, message) = under_way.remove(0);
            let answer = stun::success(message.transaction(), path.remote, "them-password-password-password");
            assert_eq!(agent.handle(Stun::decode(&answer).unwrap(), path, now), Heard::Alive);
        }
    }
}

#[test]
fn nothing_more_goes_to_unproven_addresses_once_there_is_a_path() {
    let (mut agent, now) = (agent(), Instant::now());
    for port in 2..=9 {
        agent.add_remote(path(port).remote, 5, now);
    }
    agent.handle(
        request(&credentials("ours"), &credentials("them"), 100, true),
        path(1),
        now,
    );
    assert_eq!(answer_checks(&mut agent, now), Heard::Selected(path(1)));
    agent.add_remote(path(10).remote, 5, now);
    let mut pacer = Pacer::new(now);
    for _ in 0..20 {
        let now = agent.poll_timeout().unwrap();
        agent.handle_timeout(&mut pacer, now);
        for (to, message) in drain(&mut agent) {
            assert_eq!(to, path(1), "consent");
            let answer = stun::success(message.transaction(), to.remote, "them-password-password-password");
            agent.handle(Stun::decode(&answer).unwrap(), to, now);
        }
    }
}

#[test]
fn many_agents_share_one_pace() {
    let start = Instant::now();
    let mut agents: Vec<Agent> = (0..100).map(|_| agent()).collect();
    for agent in &mut agents {
        for port in 1..=24 {
            agent.add_remote(path(port).remote, 5, start);
        }
    }
    let (mut pacer, mut sent) = (Pacer::new(start), 0);
    for tick in 0..200 {
        let now = start + Duration::from_millis(tick * 50);
        for agent in agents
            .iter_mut()
            .filter(|agent| agent.poll_timeout().is_some_and(|due| due <= now))
        {
            agent.handle_timeout(&mut pacer, now);
            sent += drain(agent).len();
        }
    }
    assert!((100..=510).contains(&sent), "{sent} in 10 s");
}

#[test]
fn credentials_are_ice_chars_of_the_right_length() {
    let password = "p".repeat(22);
    for ufrag in ["abcd", "+/09azAZ", &"u".repeat(256)] {
        assert!(Credentials::parse(ufrag, &password).is_some(), "{ufrag}");
    }
    for ufrag in [
        "abc",
        "ab d",
        "ab:d",
        "ab\0d",
        "abc\u{e9}",
        "<13>hello",
        &"u".repeat(257),
    ] {
        assert!(Credentials::parse(ufrag, &password).is_none(), "{ufrag}");
    }
    for password in [
        "p".repeat(21),
        "p".repeat(257),
        format!("{password} "),
        format!("{password}="),
    ] {
        assert!(Credentials::parse("abcd", &password).is_none(), "{password}");
    }
}

#[test]
fn a_restart_keeps_the_path_until_the_new_generation_nominates() {
    let (mut agent, now) = (agent(), Instant::now());
    agent.handle(
        request(&credentials("ours"), &credentials("them"), 100, true),
        path(1),
        now,
    );
    answer_checks(&mut agent, now);
    // The first try goes nowhere.
    agent.restart(credentials("lost"), credentials("them"));
    agent.restart(credentials("new"), credentials("them"));
    assert_eq!(agent.selected(), Some(path(1)));
    assert_eq!(agent.ufrags().collect::<Vec<_>>(), ["ours", "new"]);
    let old = agent.handle(
        request(&credentials("ours"), &credentials("them"), 100, true),
        path(1),
        now,
    );
    assert_eq!(old, Heard::Alive, "the old generation is still answered");
    agent.handle(
        request(&credentials("new"), &credentials("them"), 50, true),
        path(2),
        now,
    );
    assert_eq!(answer_checks(&mut agent, now), Heard::Selected(path(2)));
    let old = agent.handle(
        request(&credentials("ours"), &credentials("them"), 100, true),
        path(1),
        now,
    );
    assert_eq!(old, Heard::Nothing);
}

#[test]
fn path_whose_address_is_gone_moves_to_the_first_that_answers_and_follows_the_viewer_then() {
    let (mut agent, now) = (agent(), Instant::now());
    let at = |address: &str| Path {
        source: Some(address.parse().unwrap()),
        ..path(1)
    };
    let from_viewer = |agent: &mut Agent, path: Path, nominate: bool| {
        agent.handle(
            request(&credentials("ours"), &credentials("them"), 100, nominate),
            path,
            now,
        )
    };
    from_viewer(&mut agent, at("192.168.1.5"), true);
    answer_checks(&mut agent, now);
    assert_eq!(agent.selected(), Some(at("192.168.1.5")));

    agent.relocate(now);
    assert_eq!(
        agent.selected(),
        Some(at("192.168.1.5")),
        "nothing else is known to work"
    );
    let (out, check) = drain(&mut agent).pop().unwrap();
    assert_eq!(out, path(1), "from wherever the system sends it");
    let answer = stun::success(check.transaction(), out.remote, "them-password-password-password");
    let heard = agent.handle(Stun::decode(&answer).unwrap(), at("192.168.1.9"), now);
    assert_eq!(heard, Heard::Moved(at("192.168.1.9")));
    // The viewer's own checks, from now on, say where it sees us.
    from_viewer(&mut agent, at("192.168.1.9"), true);
    drain(&mut agent);
    assert_eq!(agent.selected(), Some(at("192.168.1.9")));
}

#[test]
fn viewer_that_is_reached_only_by_a_restart_has_moved_by_that() {
    let (mut agent, now) = (agent(), Instant::now());
    agent.resume(path(1), now);
    agent.relocate(now);
    drain(&mut agent);
    agent.restart(credentials("ours"), credentials("them"));
    let to = credentials("ours");
    agent.handle(request(&to, &credentials("them"), 100, false), path(2), now);
    assert_eq!(answer_checks(&mut agent, now), Heard::Moved(path(2)));
    agent.handle(request(&to, &credentials("them"), 100, true), path(2), now);
    assert_eq!(agent.selected(), Some(path(2)));
}

#[test]
fn path_whose_address_is_gone_is_kept_while_nothing_answers() {
    let (mut agent, now) = (agent(), Instant::now());
    agent.relocate(now);
    assert!(
        drain(&mut agent).is_empty(),
        "one that has no path yet has none to lose"
    );
    agent.resume(path(1), now);
    agent.relocate(now);
    let mut pacer = Pacer::new(now);
    let mut sent = drain(&mut agent).len();
    while let Some(due) = agent.poll_timeout().filter(|due| *due < now + Duration::from_secs(20)) {
        agent.handle_timeout(&mut pacer, due);
        sent += drain(&mut agent).len();
    }
    assert!((6..20).contains(&sent), "{sent} checks");
    assert_eq!(agent.selected(), Some(path(1)));
}

#[test]
fn controlling_end_nominates_the_first_that_answers_and_another_where_that_falls_silent() {
    let now = Instant::now();
    let mut agent = agent().controlling();
    let mut pacer = Pacer::new(now);
    let far = SocketAddr::from(([192, 0, 2, 1], 1));
    let near = SocketAddr::from(([192, 0, 2, 2], 2));
    agent.add_remote(far, 9, now);
    agent.add_remote(near, 1, now);
    let mut nominated = Vec::new();
    let mut at = now;
    for _ in 0..2000 {
        at += Duration::from_millis(20);
        agent.handle_timeout(&mut pacer, at);
        while let Some((path, datagram)) = agent.poll_transmit() {
            let request = Stun::decode(&datagram).unwrap();
            assert_eq!(request.role(), Some(IceRole::Controlling));
            if request.nominates() {
                nominated.push(path.remote);
            }
            // The one that is liked better answers checks, and never a nomination.
            if path.remote == far && request.nominates() {
                continue;
            }
            let answer = stun::success(request.transaction(), far, &agent.remote().password);
            agent.handle(Stun::decode(&answer).unwrap(), path, at);
        }
        if agent.selected().is_some() {
            break;
        }
    }
    assert_eq!(agent.selected().map(|path| path.remote), Some(near));
    assert_eq!((nominated[0], *nominated.last().unwrap()), (far, near));
}

#[test]
fn way_that_the_other_end_has_opened_is_tried_whatever_else_was_named() {
    let now = Instant::now();
    let mut agent = agent().controlling();
    for port in 0..100 {
        agent.add_remote(([192, 0, 2, 7], 1000 + port).into(), 100 - u32::from(port), now);
    }
    let way = Path {
        socket: 1 << 16,
        ..path(9)
    };
    agent.add_way(way, now);
    assert_eq!(agent.pairs.len(), MAX_PAIRS);
    assert!(agent.pairs.iter().any(|pair| pair.path == way));
    assert_eq!(agent.pairs[0].priority, 100, "the best stays");
}
