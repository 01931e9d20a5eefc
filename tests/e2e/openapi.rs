//! The OpenAPI document is one, and the server answers as it says.

use std::{fs, path::Path, process::Output};

use framebridge_tests::{http::Request, process::command, python, system::System};

/// The validator and the generator of requests, which share most of what they stand on.
const PACKAGES: [&str; 2] = ["openapi-spec-validator==0.9.0", "schemathesis==4.32.5"];

const HOOKS: &str = include_str!("openapi/hooks.py");

/// What is looked for: 5xx, answers that are not in the document or not as it has them, and that it takes what the document has and
/// nothing else. That it asks for tokens is tested elsewhere: schemathesis tries so many wrong ones that it is told to wait.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,\
     response_schema_conformance,negative_data_rejection,missing_required_header,unsupported_method,allow_header_conformance";

/// That what the document has is taken: of a stream that there is, no schema can say what an offer is.
const POSITIVE: &str = "positive_data_acceptance";

/// Has it ask for a stream that there is; it has no way to find out its name.
const OF_THE_STREAM: &str = "[parameters]\nstream = \"test\"\n";

/// Events and a film do not end, and a clip of the next seconds takes them: all have tests of their own.
const ENDLESS: &str = "events$|clip.mp4$|live.mp4$";

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Has schemathesis ask everything that the document has, at its edges; by whom is in `header`.
fn ask_everything(bin: &Path, system: &System, document: &Path, checks: &str, header: Option<&str>) {
    let mut ask = command(bin.join("schemathesis"));
    ask.arg("run").arg(document).args(["--url", &system.url("")]);
    ask.args([
        "--phases",
        "coverage",
        "--checks",
        checks,
        "--exclude-path-regex",
        ENDLESS,
    ]);
    // The same requests each time.
    ask.args([
        "--seed",
        "1",
        "--request-timeout",
        "10",
        "--warnings",
        "off",
        "--no-color",
    ]);
    ask.args(header.iter().flat_map(|header| ["--header", *header]));
    ask.current_dir(system.scratch()).env("SCHEMATHESIS_HOOKS", "hooks");
    let output = ask.env("PYTHONPATH", system.scratch()).output().unwrap();
    assert!(output.status.success(), "as {header:?}: {}", said(&output));
    let asked = said(&output);
    assert!(asked.contains("generated"), "it asked nothing: {asked}");
}

#[test]
fn document_is_valid_and_the_server_answers_as_it_says() {
    let python = python::with_packages(&PACKAGES).unwrap();
    let bin = python.parent().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let tokens = folder.path().join("tokens.toml");
    let auth = format!("[http.auth]\nmode = \"token\"\ntokens = {tokens:?}\n");
    let system = System::start_with(&[("test", "test:")], &auth).unwrap();
    let token = system
        .bridgectl(&["token", "new", "operator", "--scope", "admin"])
        .unwrap();
    let bearer = format!("Bearer {}", String::from_utf8(token.stdout).unwrap().trim());
    let served = Request::new("GET", "/api/v1/openapi.json").header("authorization", &bearer);
    let document = system.scratch().join("openapi.json");
    let served = served.send(system.http()).unwrap();
    assert_eq!(served.status, 200, "{}", String::from_utf8_lossy(&served.body));
    fs::write(&document, served.body).unwrap();
    fs::write(system.scratch().join("hooks.py"), HOOKS).unwrap();

    let valid = command(bin.join("openapi-spec-validator"))
        .arg(&document)
        .output()
        .unwrap();
    assert!(valid.status.success(), "{}", said(&valid));
    let all = format!("{CHECKS},{POSITIVE}");
    let operator = format!("Authorization: {bearer}");
    ask_everything(bin, &system, &document, &all, None);
    ask_everything(bin, &system, &document, &all, Some(&operator));
    fs::write(system.scratch().join("schemathesis.toml"), OF_THE_STREAM).unwrap();
    ask_everything(bin, &system, &document, CHECKS, Some(&operator));
}
