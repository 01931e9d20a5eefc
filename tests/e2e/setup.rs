//! The configuration, written by commands, and taken up by what runs.

use std::{fs, path::Path, process::Output};

use framebridge_proto::status::Overall;
use framebridge_tests::{
    http::Request,
    onvif::CameraNetwork,
    process::command,
    system::{System, binary},
    wait::{self, PATIENCE},
};
use serde_json::Value;

fn said(output: &Output) -> String {
    let (out, error) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    format!("{out}{error}")
}

fn names(system: &System) -> anyhow::Result<Vec<String>> {
    Ok(system.status()?.streams.into_iter().map(|stream| stream.name).collect())
}

#[test]
fn stream_is_added_and_removed_while_everything_runs_and_comments_stay() {
    let system = System::start(&[("test", "test:")]).unwrap();
    let config = system.scratch().join("framebridge.toml");
    let before = format!(
        "# The house.\n\n{}# to do: the attic\n",
        fs::read_to_string(&config).unwrap()
    );
    fs::write(&config, &before).unwrap();

    let added = system
        .bridgectl(&["stream", "add", "yard", "test:", "--fps", "15", "--title", "Yard"])
        .unwrap();
    assert!(
        added.status.success() && said(&added).contains("added: yard"),
        "{}",
        said(&added)
    );
    assert_eq!(names(&system).unwrap(), ["test", "yard"]);
    let written = fs::read_to_string(&config).unwrap();
    assert_eq!(
        written,
        format!("{before}\n[streams.yard]\nsource = \"test:\"\ntitle = \"Yard\"\nfps = 15\n")
    );
    let listed = system.bridgectl(&["stream", "list"]).unwrap();
    assert!(
        said(&listed).contains("yard") && said(&listed).contains("Yard"),
        "{}",
        said(&listed)
    );

    for (arguments, words) in [
        (["stream", "add", "yard", "test:"].as_slice(), "already"),
        (&["stream", "remove", "yrad"], "did you mean `yard`"),
        (&["stream", "add", "attic", "rtsp//attic"], "rtsp"),
    ] {
        let refused = system.bridgectl(arguments).unwrap();
        assert!(
            !refused.status.success() && said(&refused).contains(words),
            "{}",
            said(&refused)
        );
    }
    assert_eq!(fs::read_to_string(&config).unwrap(), written);

    let removed = system.bridgectl(&["stream", "remove", "yard"]).unwrap();
    assert!(said(&removed).contains("removed: yard"), "{}", said(&removed));
    assert_eq!(names(&system).unwrap(), ["test"]);
    let left = fs::read_to_string(&config).unwrap();
    assert!(
        left.contains("# The house.") && left.contains("# to do: the attic"),
        "{left}"
    );
}

#[test]
fn setup_opens_what_runs_to_the_network_by_a_link_and_shuts_it_again() {
    let system = System::start(&[("test", "test:")]).unwrap();
    let setup = |arguments: &[&str]| {
        let output = system
            .bridgectl(&[&["--json", "setup", "--yes"], arguments].concat())
            .unwrap();
        assert!(output.status.success(), "{}", said(&output));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let opened = setup(&["--who", "token"]);
    let (url, token) = (opened["url"].as_str().unwrap(), opened["token"].as_str().unwrap());
    assert!(
        url.starts_with("https://") && url.contains(&format!(":{}/", system.http().port())),
        "{opened}"
    );
    assert!(token.starts_with("fbt_"), "{opened}");
    // Who comes by HTTP is sent to HTTPS: nothing is served without.
    wait::until_true("HTTPS to be served", PATIENCE, || {
        let answer = Request::new("GET", "/api/v1/streams").send(system.http())?;
        Ok((300..400).contains(&answer.status) && system.status()?.overall == Overall::Healthy)
    })
    .unwrap();
    let again = setup(&["--who", "token"]);
    assert!(again["token"].is_null(), "there is one already: {again}");

    let shut = setup(&["--who", "this-machine"]);
    assert!(shut["token"].is_null(), "{shut}");
    wait::until_true("loopback alone to be listened on", PATIENCE, || {
        Ok(system.status()?.http.is_some_and(|http| http.starts_with("127.0.0.1")))
    })
    .unwrap();
}

#[test]
fn setup_without_a_machine_that_runs_says_how_to_start_it() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("framebridge.toml");
    let mut setup = command(binary("bridgectl").unwrap());
    setup
        .args(["setup", "--yes", "--stream", "a=test:", "--config"])
        .arg(&config);
    let output = setup
        .env("FRAMEBRIDGE_RUNTIME_DIR", folder.path().join("run"))
        .output()
        .unwrap();
    let told = said(&output);
    assert!(
        output.status.success() && told.contains("http://127.0.0.1:8890/"),
        "{told}"
    );
    assert!(
        told.contains("to start it: ") && told.contains("framebridge.toml"),
        "{told}"
    );
    assert!(fs::read_to_string(&config).unwrap().contains("[streams.a]"));
}

/// `bridgectl setup` on a box, in the network of a camera.
fn discovered(network: &CameraNetwork, config: &Path, arguments: &[&str]) -> Output {
    let mut setup = command(binary("bridgectl").unwrap());
    setup
        .args(["setup", "--yes", "--json", "--config"])
        .arg(config)
        .args(arguments);
    setup.env("FRAMEBRIDGE_RUNTIME_DIR", config.parent().unwrap().join("run"));
    network.as_box(|| Ok(setup.output()?)).unwrap()
}

/// A file with a login.
fn login(folder: &Path) -> String {
    let login = folder.join("login");
    fs::write(&login, "admin:p@ss word\n").unwrap();
    login.display().to_string()
}

#[test]
fn cameras_of_a_network_are_found_asked_for_their_address_and_added_once() {
    let Some(network) = CameraNetwork::build().unwrap() else {
        return;
    };
    let camera = network.camera("admin:p@ss word").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("framebridge.toml");
    let written = || fs::read_to_string(&config).unwrap();

    let unknown = discovered(&network, &config, &["--discover", CameraNetwork::INTERFACE]);
    let told = said(&unknown);
    assert!(
        told.contains("192.0.2.7 (Yard Cam): it asks for a login: --login FILE"),
        "{told}"
    );
    assert!(!written().contains("rtsp:"), "{}", written());
    // Who lets others in still does, whatever is found.
    let open = written().replace("127.0.0.1", "0.0.0.0") + "[http.auth]\nmode = \"none\"\n";
    fs::write(&config, &open).unwrap();

    let login = login(folder.path());
    // By its interface, by its addresses, and by its own, twice: with its login only a camera that is named is added.
    for (network_of_it, told_of_it, is_added) in [
        (CameraNetwork::INTERFACE, "name it: --discover 192.0.2.7", false),
        ("192.0.2.0/24", "name it: --discover 192.0.2.7", false),
        (
            CameraNetwork::CAMERA,
            "main H264 1920x1080: rtsp://192.0.2.7/live?channel=1&stream=main, as `yard-cam`",
            true,
        ),
        (CameraNetwork::CAMERA, "192.0.2.7 (Yard Cam) is a stream already", true),
    ] {
        let output = discovered(&network, &config, &["--discover", network_of_it, "--login", &login]);
        let told = said(&output);
        assert!(
            output.status.success() && told.contains(told_of_it),
            "{network_of_it}: {told}"
        );
        assert!(!told.contains("p@ss") && !told.contains("p%40ss"), "{told}");
        let source =
            "[streams.yard-cam]\nsource = \"rtsp://admin:p%40ss%20word@192.0.2.7/live?channel=1&stream=main\"\n";
        let text = written();
        assert_eq!(text.contains(source), is_added, "{text}");
        assert!(text.starts_with(&open) && text.matches("rtsp:").count() <= 1, "{text}");
    }

    let wrong = folder.path().join("wrong");
    fs::write(&wrong, "admin:guess\n").unwrap();
    let wrong = discovered(
        &network,
        &config,
        &["--discover", CameraNetwork::CAMERA, "--login", wrong.to_str().unwrap()],
    );
    assert!(
        said(&wrong).contains("does not take this user and password"),
        "{}",
        said(&wrong)
    );

    drop(camera);
    let nobody = discovered(&network, &config, &["--discover", CameraNetwork::INTERFACE]);
    assert!(said(&nobody).contains("no camera has answered"), "{}", said(&nobody));
    let typo = discovered(&network, &config, &["--discover", "cam1"]);
    assert_eq!(typo.status.code(), Some(1));
    assert!(
        said(&typo).contains("no interface `cam1`; did you mean `cam0`?"),
        "{}",
        said(&typo)
    );
}

#[test]
fn camera_that_names_another_host_has_nobody_asked_there() {
    let Some(network) = CameraNetwork::build().unwrap() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("framebridge.toml");
    let login = login(folder.path());
    let (rtsp, http) = (
        network.listener_elsewhere(554).unwrap(),
        network.listener_elsewhere(8000).unwrap(),
    );
    let (here, elsewhere) = (CameraNetwork::CAMERA, CameraNetwork::ELSEWHERE);
    for (media, pictures, told) in [
        (here, elsewhere, "192.0.2.7 (Yard Cam): its pictures are not on itself"),
        (
            elsewhere,
            here,
            "192.0.2.7 (Yard Cam): its media service is not on itself, and is not asked",
        ),
    ] {
        let _camera = network
            .camera_that_sends_to("admin:p@ss word", media, pictures)
            .unwrap();
        let output = discovered(&network, &config, &["--discover", here, "--login", &login]);
        assert!(said(&output).contains(told), "{}", said(&output));
        assert!(!fs::read_to_string(&config).unwrap().contains("rtsp:"));
    }
    for listener in [rtsp, http] {
        let heard = listener.accept().unwrap_err();
        assert_eq!(heard.kind(), std::io::ErrorKind::WouldBlock);
    }
}
