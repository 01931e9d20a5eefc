//! What no Framebridge starts with, and the words that say so.

use framebridge_config::{ConfigError, Settings};

use crate::{parse, parse_with};

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
fn token_goes_in_the_clear_only_where_that_was_said() {
    let text = "[studio]\nurl = \"http://studio.example\"\ntoken = \"t\"\n";
    assert!(parse(text).unwrap_err().to_string().contains("insecure = true"));
    parse(&format!("{text}insecure = true\n")).unwrap();
}

#[test]
fn flag_that_is_refused_is_told_without_its_password() {
    for flag in ["e=rtps://u:SECRET@h/x", "e=rtsp:u:SECRET@h", "rtsp://u:SEC/RET@h/x"] {
        let error = parse_with("", &[], &[flag]).unwrap_err().to_string();
        assert!(!error.contains("SEC") && !error.contains("RET"), "{error}");
    }
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
    drop(std::fs::remove_file(&dir));
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
