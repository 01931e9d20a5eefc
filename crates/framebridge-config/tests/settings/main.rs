//! What operators write, and what they get. What they are told when it makes no sense: [`refused`], [`warned`].

mod refused;
mod warned;

use std::{collections::BTreeMap, path::Path, time::Duration};

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
fn studio_token_is_given_or_in_a_file_and_not_both() {
    let text = "[studio]\nurl = \"https://s\"\n";
    let file = "token_file = \"/etc/framebridge/studio-token\"\n";
    let studio = parse(&format!("{text}{file}")).unwrap().studio.unwrap();
    assert_eq!(studio.token, StudioToken::File("/etc/framebridge/studio-token".into()));
    let error = parse(&format!("{text}{file}token = \"t\"\n")).unwrap_err().to_string();
    assert!(error.contains("framebridge.toml:3: studio.token_file"), "{error}");
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
