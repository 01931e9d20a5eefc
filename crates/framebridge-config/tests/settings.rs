//! What operators write, what they get, and what they are told when it makes no sense.

use std::{collections::BTreeMap, fs, time::Duration};

use framebridge_config::{ConfigError, EncoderChoice, Input, Settings, Source};

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
    assert_eq!(settings.webrtc.port, 8890);
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
        "environment: FRAMEBRIDGE_WEBRTC_PORT: `high` is not a whole number",
        "--stream: oops: use NAME=SOURCE",
    ] {
        assert!(error.contains(part), "no `{part}` in:\n{error}");
    }
    assert!(!error.contains("secret"), "{error}");
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
        "environment: FRAMEBRIDGE_HTP_LISTEN: there is no such setting: it is ignored"
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
        ("[http.auth]\nopen = [\"all\"]\n", "use view, control or admin"),
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
