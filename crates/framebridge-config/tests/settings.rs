//! What operators write, what they get, and what they are told when it makes no sense.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use framebridge_config::{Asked, ConfigError, EncoderChoice, Input, Keep, Settings, Source, StudioToken};
use framebridge_proto::Role;

fn parse_with(text: &str, env: &[(&str, &str)], streams: &[&str]) -> Result<Settings, ConfigError> {
    let env: BTreeMap<String, String> = env.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect();
    let streams: Vec<String> = streams.iter().map(|&stream| stream.to_owned()).collect();
    Settings::parse(&Input {
        file: "framebridge.toml",
        text,
        env,
        streams: &streams,
    })
}

fn parse(text: &str) -> Result<Settings, ConfigError> {
    parse_with(text, &[], &[])
}

#[test]
fn nothing_configured_is_one_test_stream_on_loopback() {
    let settings = parse("").unwrap();
    assert_eq!(settings.http.listen.to_string(), "127.0.0.1:8890");
    assert_eq!(settings.webrtc.port, 8897);
    assert_eq!(settings.supervisor.crash_loop_failures, 5);
    let [stream] = settings.streams.as_slice() else {
        panic!("one stream")
    };
    assert_eq!((stream.name.as_str(), &stream.source), ("test", &Source::Test));
    assert_eq!((stream.quality.fps, stream.quality.longest_edge), (30, 1280));
    assert!(settings.studio.is_none() && settings.warnings.is_empty());
    let printed = settings.to_toml();
    assert_eq!(
        parse(&printed).unwrap().streams,
        settings.streams,
        "it reads back the same:\n{printed}"
    );
}

#[test]
fn a_stream_takes_what_it_does_not_say_from_video() {
    let settings = parse(
        "[video]\nfps = 15\nencoder = \"software\"\n[streams.door]\nsource = \"rtsp://cam/s\"\nbitrate = 800000\n\
         [streams.desk]\nsource = \"x11::0\"\nfps = 60\nlinger_ms = 100\n",
    )
    .unwrap();
    let [desk, door] = settings.streams.as_slice() else {
        panic!("two streams, no built-in one")
    };
    assert_eq!(
        (door.quality.bitrate, door.quality.fps, door.encoder),
        (800_000, 15, EncoderChoice::Software)
    );
    assert_eq!((desk.quality.fps, desk.linger), (60, Duration::from_millis(100)));
}

#[test]
fn what_is_set_of_a_quality_is_asked_for_and_what_is_built_in_is_not() {
    let text = "[video]\nfps = 30\n[streams.door]\nsource = \"rtsp://cam/s\"\nbitrate = 800000\nencoder = \"copy\"\n\
                [streams.yard]\nsource = \"test:\"\n";
    let settings = parse(text).unwrap();
    let asked = |settings: &Settings| -> Vec<Asked> { settings.streams.iter().map(|stream| stream.asked).collect() };
    let fps = Asked {
        fps: true,
        ..Asked::default()
    };
    assert_eq!(asked(&settings), [Asked { bitrate: true, ..fps }, fps]);
    assert_eq!(settings.streams[0].encoder, EncoderChoice::Copy);
    assert_eq!(asked(&parse(&settings.to_toml()).unwrap()), asked(&settings), "printed");
    let handed = settings.for_process(Role::Encoder, Some(&settings.streams[0].name), &[]);
    assert_eq!(
        asked(&parse(&handed).unwrap()),
        [Asked { bitrate: true, ..fps }],
        "and handed on"
    );
    let set = parse_with("", &[("FRAMEBRIDGE_VIDEO_FPS", "30")], &[]).unwrap();
    assert_eq!(asked(&set), [fps], "by the environment, too");
}

#[test]
fn a_stream_has_a_title_or_its_name() {
    let of = |title: &str| {
        let text = format!("[streams.door]\nsource = \"test:\"\ntitle = {title:?}\n");
        parse(&text).map(|settings| settings.streams[0].title.clone())
    };
    assert_eq!(of("Front door").unwrap(), "Front door");
    assert_eq!(of("").unwrap(), "door");
    for bad in [" ", "two\nlines", &"x".repeat(65)] {
        let said = of(bad).unwrap_err().to_string();
        assert!(said.contains("streams.door.title"), "{said}");
    }
}

#[test]
fn environment_wins_over_the_file_and_flags_over_both() {
    let text = "[http]\nlisten = \"127.0.0.1:1\"\n[streams.test]\nsource = \"file:/a\"\n";
    let env = [
        ("FRAMEBRIDGE_HTTP_LISTEN", "[::1]:2"),
        ("FRAMEBRIDGE_WEBRTC_PORT", "0"),
        ("FRAMEBRIDGE_WEBRTC_BIND", "127.0.0.1, ::1"),
        ("FRAMEBRIDGE_LOG_JSON", "true"),
    ];
    let settings = parse_with(text, &env, &["test=test:", "more=lavfi:smptebars"]).unwrap();
    assert_eq!(settings.http.listen.to_string(), "[::1]:2");
    assert_eq!(
        (settings.webrtc.port, settings.webrtc.bind.len(), settings.log.json),
        (0, 2, true)
    );
    let sources: Vec<_> = settings
        .streams
        .iter()
        .map(|stream| format!("{}={}", stream.name, stream.source))
        .collect();
    assert_eq!(sources, ["more=lavfi:smptebars", "test=test:"]);
}

#[test]
fn every_problem_is_told_at_once_by_key_and_line() {
    let text = "[http]\nlisten = \"nowhere\"\nlissten = 1\n\n[streams.A]\nsource = \"test:\"\n[streams.b]\n\
                source = \"htp://user:secret@x/\"\nfps = \"many\"\n[streams.c]\nbitrate = 1000000\n[nonsense]\nx = 1\n";
    let error = parse_with(text, &[("FRAMEBRIDGE_WEBRTC_PORT", "high")], &["oops"])
        .unwrap_err()
        .to_string();
    for part in [
        "framebridge.toml:2: http.listen: ",
        "framebridge.toml:3: http.lissten: there is no such setting",
        "framebridge.toml:5: streams.A: `A` is not a stream name",
        "framebridge.toml:8: streams.b.source: `htp://x/` is no source",
        "framebridge.toml:9: streams.b.fps: `many` is not a whole number",
        "framebridge.toml:10: streams.c.source: a stream needs a source",
        "framebridge.toml:12: nonsense: there is no such setting",
        "environment: FRAMEBRIDGE_WEBRTC_PORT: `high` is not a port: use 1 to 65535",
        "--stream: oops: use NAME=SOURCE",
    ] {
        assert!(error.contains(part), "no `{part}` in:\n{error}");
    }
    assert!(!error.contains("secret"), "{error}");
    assert_eq!(error.matches("streams.A").count(), 1, "{error}");
}

/// Every setting there is, with a studio, a certificate, tokens and a TURN server, so that all of them count.
const ALL_IN_USE: &str = "[http.auth]\nmode = \"token\"\ntokens = \"/t\"\n[http.tls]\ncertificate = \"/c\"\nkey = \"/k\"\n\
     [studio]\nurl = \"https://s\"\ntoken = \"t\"\n[[webrtc.ice_servers]]\nurls = [\"turn:t\"]\nsecret = \"s\"\n\
     [streams.desk]\nsource = \"test:\"\n";

fn variable(key: &str) -> String {
    format!("FRAMEBRIDGE_{}", key.to_uppercase().replace('.', "_"))
}

/// Without one letter of its last word, so that it is nobody's name.
fn misspelt(key: &str) -> String {
    let at = key.len() - 2;
    format!("{}{}", &key[..at], &key[at + 1..])
}

#[test]
fn every_number_out_of_its_range_is_told_of_wherever_it_stands() {
    let settings = parse(ALL_IN_USE).unwrap();
    assert!(settings.warnings.is_empty(), "{:?}", settings.warnings);
    let (mut numbers, mut silent) = (0, Vec::new());
    for entry in settings.entries() {
        if entry.value.parse::<i64>().is_err() {
            continue;
        }
        numbers += 1;
        let variable = variable(&entry.key);
        for value in ["-1", "9000000000000"] {
            let told = match parse_with(ALL_IN_USE, &[(&variable, value)], &[]) {
                Ok(settings) => settings.warnings,
                Err(ConfigError::Invalid(problems)) => problems,
                Err(error) => panic!("{error}"),
            };
            if !told.iter().any(|told| {
                told.key == variable
                    && [" is outside ", " is not a port"]
                        .iter()
                        .any(|why| told.message.contains(why))
            }) {
                silent.push(format!("{variable}={value}"));
            }
        }
    }
    assert!(numbers > 30, "{numbers}");
    assert_eq!(silent, [""; 0]);
}

#[test]
fn every_misspelt_key_and_variable_is_told_with_what_was_meant() {
    let settings = parse(ALL_IN_USE).unwrap();
    let mut silent = Vec::new();
    for entry in settings.entries() {
        let wrong = misspelt(&entry.key);
        let told = parse_with(ALL_IN_USE, &[(&variable(&wrong), "1")], &[])
            .unwrap()
            .warnings;
        let meant = format!("did you mean `{}`?", variable(&entry.key));
        if !told.iter().any(|told| told.message.ends_with(&meant)) {
            silent.push(format!("{}: {told:?}", variable(&wrong)));
        }
        let (section, name) = wrong.rsplit_once('.').unwrap();
        if section.contains("ice_servers") {
            continue;
        }
        // A file of its own: no table stands twice.
        let error = parse(&format!("[{section}]\n{name} = 1\n")).unwrap_err().to_string();
        if !error.contains(&format!(
            "{wrong}: there is no such setting; did you mean `{}`?",
            entry.key
        )) {
            silent.push(error);
        }
    }
    assert_eq!(silent, [""; 0]);
    let error = parse("[htpp]\nlisten = \"x\"\n").unwrap_err().to_string();
    assert!(error.ends_with("did you mean `http`?"), "{error}");
    let error = parse("[http]\ntokens = \"x\"\n").unwrap_err().to_string();
    assert!(error.ends_with("did you mean `http.auth.tokens`?"), "{error}");
}

#[test]
fn variable_of_a_stream_that_is_not_there_is_told_of() {
    let told = |name: &str| {
        let settings = parse_with("[streams.front-door]\nsource = \"test:\"\n", &[(name, "1")], &[]).unwrap();
        settings.warnings.iter().map(ToString::to_string).collect::<String>()
    };
    let unknown = told("FRAMEBRIDGE_STREAMS_GARAGE_SOURCE");
    assert!(unknown.contains("no stream is called `garage`"), "{unknown}");
    let near = told("FRAMEBRIDGE_STREAMS_FRONT_DOR_FPS");
    assert!(near.ends_with("did you mean `front-door`?"), "{near}");
    assert_eq!(told("FRAMEBRIDGE_STREAMS_FRONT_DOOR_FPS"), "");
    let built_in = parse_with("", &[("FRAMEBRIDGE_STREAMS_TEST_SOURCE", "file:/a.mp4")], &[]).unwrap();
    assert_eq!(built_in.streams[0].source.to_string(), "file:/a.mp4");
    assert!(built_in.warnings.is_empty(), "{:?}", built_in.warnings);
}

#[test]
fn setting_that_does_nothing_is_told_of() {
    let turn = |rest: &str| format!("[[webrtc.ice_servers]]\nurls = [\"turn:t\"]\n{rest}");
    for (text, said) in [
        ("[http.auth]\ntokens = \"/t\"\n", "http.auth.tokens: has no effect"),
        (
            "[http.auth]\nmode = \"none\"\nopen = [\"view\"]\n",
            "http.auth.open: has no effect",
        ),
        ("[http.tls]\nhsts = true\n", "http.tls.hsts: has no effect"),
        ("[studio]\nallow = [\"jobs\"]\n", "studio.allow: has no effect"),
        (
            "[supervisor]\nbackoff_ms = 50000\n",
            "supervisor.backoff_ms: is longer than supervisor.backoff_cap_ms",
        ),
        (
            "[supervisor]\ncooldown_cap_ms = 100\n",
            "supervisor.cooldown_cap_ms: is shorter than supervisor.cooldown_ms",
        ),
        (
            "[[webrtc.ice_servers]]\nurls = [\"stun:s\"]\nsecret = \"s\"\n",
            "webrtc.ice_servers.0.secret: has no effect",
        ),
        (
            "[http.auth.jwt]\nscope_claim = \"roles\"\n",
            "http.auth.jwt.scope_claim: has no effect",
        ),
        (
            "[streams.a]\nsource = \"rtsp://cam/s\"\ntls_verify = false\n",
            "streams.a.tls_verify: has no effect",
        ),
        (
            "[log]\nfilter = \"info,singaling=debug\"\n",
            "log.filter: nothing is logged as `singaling`",
        ),
    ] {
        let warnings = parse(text).unwrap().warnings;
        assert!(
            warnings.iter().any(|told| told.to_string().contains(said)),
            "{text}: {warnings:?}"
        );
    }
    for (text, said) in [
        ("[webrtc]\nbind = []\n".to_owned(), "webrtc.bind"),
        ("[webrtc]\nbind = [\"localhost\"]\n".to_owned(), "e.g. 192.0.2.7"),
        ("[webrtc]\ncandidates = [\"0.0.0.0\"]\n".to_owned(), "webrtc.candidates"),
        (
            "[webrtc]\nstun = [\"a\", \"b\", \"c\", \"d\", \"e\"]\n".to_owned(),
            "webrtc.stun",
        ),
        (turn(""), "webrtc.ice_servers.0.urls"),
        (turn("username = \"u\"\n"), "webrtc.ice_servers.0.urls"),
        (
            "[[webrtc.ice_servers]]\nurls = [\"turn:t?transport=tls\"]\nsecret = \"s\"\n".to_owned(),
            "transport=udp or transport=tcp",
        ),
        ("[log]\nfilter = \"off\"\n".to_owned(), "framebridge.toml:2: log.filter"),
        ("[http]\nlisten = 8890\n".to_owned(), "http.listen"),
        ("[http]\nlisten = \"8890\"\n".to_owned(), "`127.0.0.1:8890`"),
    ] {
        let error = parse(&text).unwrap_err().to_string();
        assert!(error.contains(said), "{text}: {error}");
    }
}

#[test]
fn host_or_origin_that_no_browser_sends_is_refused_with_what_it_sends() {
    for (bad, right) in [
        ("https://cam.example", "`cam.example`"),
        ("cam.example:8443", "`cam.example`"),
        ("*.cam.example", "`cam.example`"),
        ("http://cam.example:80/page", "`cam.example`"),
        ("cam.example.", "`cam.example`"),
        ("cam example", "`cam.example`"),
        ("", "`cam.example`"),
        ("kamera\u{fc}.example", "`cam.example`"),
    ] {
        let error = parse(&format!("[http]\nhosts = [{bad:?}]\n")).unwrap_err().to_string();
        assert!(
            error.contains("framebridge.toml:2: http.hosts") && error.contains(right),
            "{error}"
        );
    }
    for good in ["cam.example", "Cam_1", "*", "192.0.2.7", "2001:db8::7"] {
        parse(&format!("[http]\nhosts = [{good:?}]\n")).unwrap();
    }
    for bad in [
        "cam.example",
        "https://cam.example/",
        "https://*.example",
        "https://Cam.example",
        "https://cam.example:443",
        "http://cam.example:80",
        "https://",
    ] {
        let error = parse(&format!("[http]\norigins = [{bad:?}]\n"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("http.origins"), "{error}");
    }
    for good in ["https://cam.example", "http://cam.example:8443", "http://[::1]:1", "*"] {
        parse(&format!("[http]\norigins = [{good:?}]\n")).unwrap();
    }
}

#[test]
fn source_is_probed_each_minute_unless_that_would_disturb_it() {
    let probe = |text: &str| parse(text).unwrap().streams[0].probe.map(|probe| probe.as_secs());
    let stream = |source: &str, more: &str| format!("[streams.a]\nsource = \"{source}\"\n{more}\n");
    assert_eq!(probe(&stream("rtsp://cam/s", "")), Some(60));
    assert_eq!(probe(&stream("rtsp://cam/s", "probe_ms = 0")), None);
    assert_eq!(probe(&stream("v4l2:/dev/video0", "")), None);
    assert_eq!(probe(&stream("v4l2:/dev/video0", "probe_ms = 5000")), Some(5));
    assert_eq!(
        probe(&("[sources]\nexec = true\n".to_owned() + &stream("exec:make-pictures", ""))),
        None
    );
    assert_eq!(
        probe(&format!("[video]\nprobe_ms = 9000\n{}", stream("v4l2:/dev/video0", ""))),
        Some(9)
    );
    assert_eq!(
        parse(&stream("test:", "keep = \"always\"")).unwrap().streams[0].keep,
        Keep::Always
    );
    let error = parse(&stream("test:", "keep = \"forever\"")).unwrap_err().to_string();
    assert!(error.contains("use on-demand or always"), "{error}");
}

#[test]
fn stream_that_is_named_twice_is_refused() {
    let error = parse_with("", &[], &["x=test:", "x=rtsp://u:SECRET@cam/s"])
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("`x` is named twice") && !error.contains("SECRET"),
        "{error}"
    );
}

#[test]
fn command_is_refused_with_its_line_until_commands_are_allowed() {
    let text = "[streams.cam]\nsource = \"exec:camera --key SECRET\"\n";
    let error = parse(text).unwrap_err().to_string();
    let told = "framebridge.toml:2: streams.cam.source: `exec:` runs a command, which has to be allowed: set sources.exec = true";
    assert_eq!(error, told);
    let allowed = parse(&format!("[sources]\nexec = true\n{text}")).unwrap();
    assert_eq!(allowed.streams[0].source.kind(), "exec:");
    assert!(!allowed.to_toml().contains("SECRET"));
}

#[test]
fn stream_says_whom_its_source_has_to_be_and_when_it_counts_as_frozen() {
    let text = "[video]\ntls_ca = \"/etc/cameras.pem\"\n[streams.a]\nsource = \"rtsps://cam/s\"\n\
                [streams.b]\nsource = \"rtsps://cam/s\"\ntls_verify = false\ntls_ca = \"\"\nfrozen_after_ms = 60000\n";
    let settings = parse(text).unwrap();
    let [a, b] = &settings.streams[..] else {
        panic!("{:?}", settings.streams)
    };
    assert!(a.tls.verify && a.tls.ca.as_deref() == Some(Path::new("/etc/cameras.pem")) && a.frozen_after.is_zero());
    assert!(!b.tls.verify && b.tls.ca.is_none() && b.frozen_after.as_secs() == 60);
}

#[test]
fn numbers_out_of_range_are_clamped_and_said_so() {
    let settings = parse("[video]\nfps = 500\n[supervisor]\nstop_timeout_ms = 1\n").unwrap();
    assert_eq!(
        (
            settings.streams[0].quality.fps,
            settings.supervisor.stop_timeout.as_millis()
        ),
        (60, 100)
    );
    let warnings: Vec<_> = settings.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings[0],
        "framebridge.toml:2: video.fps: 500 is outside 1 to 60: 60 is used"
    );
    assert_eq!(warnings.len(), 2, "{warnings:?}");
}

#[test]
fn unit_written_beside_a_number_is_answered_with_the_number_that_is_meant() {
    for (text, told) in [
        (
            "[streams.a]\nsource = \"test:\"\nlinger_ms = \"5s\"\n",
            "streams.a.linger_ms: `5s` is not a whole number of milliseconds: write 5000",
        ),
        (
            "[video]\nbitrate = \"2.5M\"\n",
            "video.bitrate: `2.5M` is not a whole number of bits a second: write 2500000",
        ),
        (
            "[video]\nlongest_edge = \"720p\"\n",
            "`720p` is not a whole number of pixels",
        ),
        (
            "[webrtc]\nport = 70000\n",
            "webrtc.port: `70000` is not a port: use 1 to 65535",
        ),
    ] {
        let error = parse(text).unwrap_err().to_string();
        assert!(
            error.ends_with(told) || error.contains(&format!("{told}, or 0")),
            "{error}"
        );
    }
    let settings = parse("[video]\nbitrate = 2500\n").unwrap();
    let warned = settings.warnings[0].to_string();
    assert!(
        warned.contains("2500 is outside 100000 to 50000000 bits a second"),
        "{warned}"
    );
}

#[test]
fn text_without_quotes_is_answered_with_where_they_go() {
    for (text, told) in [
        (
            "[http]\nlisten = 127.0.0.1:8890\n",
            "put the value of `listen` between straight quotes",
        ),
        (
            "[http]\nlisten = \u{201c}127.0.0.1:8890\u{201d}\n",
            "put the value of `listen` between",
        ),
        (
            "[streams.a]\nsource = rtsp://u:SECRET@cam/s\n",
            "put the value of `source` between",
        ),
        (
            "[http]\nlisten\u{a0}= \"127.0.0.1:8890\"\n",
            "a space in this line is none that the keyboard makes",
        ),
        ("http:\n  listen: SECRET\n", "write `[http]`"),
        ("[http\n", "TOML: "),
    ] {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.contains(told) && !error.contains("SECRET"), "{error}");
    }
    for text in [
        "[http]\nlisten = \"a\nx = 1\n",
        "[http]\na = [1, 2\n",
        "[http]\na = { b = 1\n",
    ] {
        let error = parse(text).unwrap_err().to_string();
        assert!(!error.contains("quotes:"), "{error}");
    }
}

#[test]
fn misspelled_variable_is_warned_of() {
    let env = [
        ("FRAMEBRIDGE_HTP_LISTEN", "x"),
        ("FRAMEBRIDGE_RUNTIME_DIR", "/x"),
        ("FRAMEBRIDGE_VIDEO_FPS", "15"),
    ];
    let settings = parse_with("", &env, &[]).unwrap();
    let [warning] = settings.warnings.as_slice() else {
        panic!("one warning: {:?}", settings.warnings)
    };
    assert_eq!(
        warning.to_string(),
        "environment: FRAMEBRIDGE_HTP_LISTEN: there is no such setting: it is ignored; did you mean `FRAMEBRIDGE_HTTP_LISTEN`?"
    );
}

#[test]
fn text_that_is_no_toml_names_its_line() {
    let error = parse("[http]\nlisten = = 1\n").unwrap_err();
    assert!(
        matches!(error, ConfigError::Syntax(_)) && error.to_string().starts_with("framebridge.toml:2: "),
        "{error}"
    );
}

#[test]
fn half_a_studio_is_a_problem() {
    assert!(
        parse("[studio]\nurl = \"https://s\"\n")
            .unwrap_err()
            .to_string()
            .contains("studio.token")
    );
    assert!(
        parse("[studio]\ntoken = \"t\"\n")
            .unwrap_err()
            .to_string()
            .contains("studio.url")
    );
    assert!(
        parse("[studio]\nurl = \"ftp://s\"\ntoken = \"t\"\n")
            .unwrap_err()
            .to_string()
            .contains("is no studio")
    );
}

#[test]
fn listener_that_lets_others_in_needs_a_word_on_who_may_ask() {
    for listen in ["0.0.0.0:8890", "[::]:8890", "192.0.2.1:1", "[2001:db8::1]:1"] {
        let text = format!("[http]\nlisten = \"{listen}\"\n");
        let error = parse(&text).unwrap_err().to_string();
        for part in [
            "framebridge.toml:2: http.listen:",
            "mode = \"token\"",
            "bridgectl token new NAME",
            "mode = \"none\"",
        ] {
            assert!(error.contains(part), "no `{part}` in {error}");
        }
        let named = parse_with("", &[("FRAMEBRIDGE_HTTP_LISTEN", listen)], &[]);
        assert!(named.unwrap_err().to_string().starts_with("environment: "));
        parse(&format!("{text}[http.auth]\nmode = \"none\"\n")).unwrap();
        parse(&format!("{text}[http.auth]\nmode = \"token\"\ntokens = \"/t\"\n")).unwrap();
        let provider = "keys = \"/k\"\nissuer = \"i\"\naudience = \"a\"\n";
        parse(&format!(
            "{text}[http.auth]\nmode = \"token\"\n[http.auth.jwt]\n{provider}"
        ))
        .unwrap();
    }
    for listen in ["127.0.0.1:1", "127.1.2.3:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
        parse(&format!("[http]\nlisten = \"{listen}\"\n")).unwrap();
    }
}

#[test]
fn half_an_authentication_and_half_a_certificate_are_problems() {
    for (text, wrong) in [
        ("[http.auth]\nmode = \"token\"\n", "http.auth.tokens"),
        ("[http.auth]\nmode = \"basic\"\n", "use token or none"),
        (
            "[http.auth]\nmode = \"token\"\n[http.auth.jwt]\nkeys = \"/k\"\n",
            "http.auth.jwt.issuer",
        ),
        (
            "[http.auth]\nmode = \"token\"\n[http.auth.jwt]\nissuer = \"i\"\n",
            "http.auth.jwt.keys",
        ),
        (
            "[http.auth.jwt]\nkeys = \"/k\"\nissuer = \"i\"\naudience = \"a\"\n",
            "only with http.auth.mode",
        ),
        ("[http.auth]\nopen = [\"all\"]\n", "use view, control, publish or admin"),
        ("[http.tls]\ncertificate = \"/c\"\n", "http.tls.key"),
        ("[http.tls]\nkey = \"/k\"\n", "http.tls.certificate"),
        ("[http]\ntrusted_proxies = [\"nginx\"]\n", "is no block of addresses"),
        (
            "[[webrtc.ice_servers]]\nurls = [\"turn:t\"]\nsecret = \"s\"\nusername = \"u\"\n",
            "leave out username",
        ),
    ] {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.contains(wrong), "{text}: {error}");
    }
}

#[test]
fn studio_token_is_given_or_in_a_file_and_not_both() {
    let text = "[studio]\nurl = \"https://s\"\n";
    let file = "token_file = \"/etc/framebridge/studio-token\"\n";
    let studio = parse(&format!("{text}{file}")).unwrap().studio.unwrap();
    assert_eq!(studio.token, StudioToken::File("/etc/framebridge/studio-token".into()));
    let error = parse(&format!("{text}{file}token = \"t\"\n")).unwrap_err().to_string();
    assert!(error.contains("framebridge.toml:3: studio.token_file"), "{error}");
}

#[test]
fn token_goes_in_the_clear_only_where_that_was_said() {
    let text = "[studio]\nurl = \"http://studio.example\"\ntoken = \"t\"\n";
    assert!(parse(text).unwrap_err().to_string().contains("insecure = true"));
    parse(&format!("{text}insecure = true\n")).unwrap();
}

#[test]
fn file_with_secrets_that_everybody_may_read_is_warned_of() {
    use std::os::unix::fs::PermissionsExt as _;
    let path = std::env::temp_dir().join(format!("framebridge-modes-{}.toml", std::process::id()));
    let warned = |text: &str, mode: u32| {
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let warnings = Settings::load(Some(&path), &[]).unwrap().warnings;
        warnings.iter().any(|warning| warning.to_string().contains("chmod 640"))
    };
    let secret = "[streams.cam]\nsource = \"rtsp://u:p@cam/s\"\n";
    assert!(warned(secret, 0o644));
    assert!(warned("[studio]\nurl = \"https://s\"\ntoken = \"t\"\n", 0o666));
    assert!(!warned(secret, 0o640));
    assert!(!warned("[streams.cam]\nsource = \"rtsp://cam/s\"\n", 0o644));
    std::fs::remove_file(path).unwrap();
}

#[test]
fn flag_that_is_refused_is_told_without_its_password() {
    for flag in ["e=rtps://u:SECRET@h/x", "e=rtsp:u:SECRET@h", "rtsp://u:SEC/RET@h/x"] {
        let error = parse_with("", &[], &[flag]).unwrap_err().to_string();
        assert!(!error.contains("SEC") && !error.contains("RET"), "{error}");
    }
}

#[test]
fn printed_configuration_reads_back_the_same_and_hides_secrets() {
    let text = "[studio]\nurl = \"wss://s\"\ntoken = \"sesame\"\n[[webrtc.ice_servers]]\nurls = [\"turn:t:3478\"]\n\
                username = \"u\"\ncredential = \"sesame\"\n[streams.q]\nsource = \"lavfi:testsrc=size=64x64,drawtext=text='a\\\"b'\"\n";
    let first = parse(text).unwrap();
    let printed = first.to_toml();
    assert!(!printed.contains("sesame"), "{printed}");
    assert!(
        printed.contains("# default") && printed.contains("# framebridge.toml:"),
        "{printed}"
    );
    let second = parse(&printed).unwrap_or_else(|error| panic!("{error}\n{printed}"));
    assert_eq!(first.streams, second.streams);
    assert_eq!((first.http, first.supervisor), (second.http, second.supervisor));
    assert_eq!(second.webrtc.ice_servers[0].username.as_deref(), Some("u"));
}

#[test]
fn bad_ice_servers_are_refused() {
    for urls in ["[]", "[\"http://x\"]", "[\"stun:x>; rel=\\\"y\\\"\"]"] {
        let error = parse(&format!("[[webrtc.ice_servers]]\nurls = {urls}\n"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("webrtc.ice_servers.0.urls"), "{error}");
    }
}

#[test]
fn missing_file_is_named() {
    let dir = std::env::temp_dir().join("framebridge-no-such-file.toml");
    drop(fs::remove_file(&dir));
    let error = Settings::load(Some(&dir), &[]).unwrap_err();
    assert!(error.to_string().contains("framebridge-no-such-file.toml"), "{error}");
}

#[test]
fn only_a_desktop_can_be_steered_and_none_is_unless_it_says_so() {
    let desk = |text: &str| parse(text).unwrap().streams[0].control;
    assert!(!desk("[streams.desk]\nsource = \"x11::0\"\n"));
    assert!(desk("[streams.desk]\nsource = \"x11::0\"\ncontrol = true\n"));
    assert!(
        desk("[streams.desk]\nsource = \"slate:1,x\"\ncontrol = true\n"),
        "a slate stands for a desktop"
    );
    let refused = parse("[streams.cam]\nsource = \"rtsp://cam/x\"\ncontrol = true\n")
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("streams.cam.control") && refused.contains("only a desktop can be steered"),
        "{refused}"
    );
    assert!(parse("[video]\ncontrol = true\n[streams.desk]\nsource = \"x11::0\"\n").is_err());
}
