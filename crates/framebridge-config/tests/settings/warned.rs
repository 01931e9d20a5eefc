//! What a Framebridge starts with all the same, and what it warns of.

use framebridge_config::{ConfigError, Settings};

use crate::{parse, parse_with};

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
        "environment: FRAMEBRIDGE_HTP_LISTEN: there is no such setting: it is ignored; did you mean `FRAMEBRIDGE_HTTP_LISTEN`?"
    );
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
