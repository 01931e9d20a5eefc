//! The systemd units, judged by systemd's own tools.

#![expect(clippy::unwrap_used, reason = "a test that can't go on says so by panicking")]

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use framebridge_proto::exit_code;

/// systemd's scale runs from 0 (locked up) to 10 (bare); 3.0 is allowed, in tenths.
const HIGHEST_EXPOSURE: &str = "--threshold=30";

/// A copy of the units whose programs exist, because `verify` looks for them.
fn installed(dir: &Path) -> Vec<PathBuf> {
    let programs = dir.join("programs");
    fs::create_dir(&programs).unwrap();
    for program in [
        "supervisor",
        "signaling",
        "bridge",
        "encoder",
        "bridgectl",
        "framebridge-studio",
    ] {
        symlink("/bin/true", programs.join(program)).unwrap();
    }
    let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd");
    let mut copies = Vec::new();
    for entry in fs::read_dir(units).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let is_unit = path
            .extension()
            .is_some_and(|kind| kind == "service" || kind == "target");
        if is_unit {
            let text = fs::read_to_string(&path).unwrap();
            let copy = dir.join(&name);
            let text = text.replace("/usr/lib/framebridge", programs.to_str().unwrap());
            fs::write(&copy, text.replace("/usr/bin", programs.to_str().unwrap())).unwrap();
            copies.push(copy);
        }
    }
    assert_eq!(
        copies.len(),
        6,
        "four processes of a box, its target, a studio: {copies:?}"
    );
    copies
}

#[expect(clippy::disallowed_methods, reason = "a test runs systemd's tools")]
fn analyze(arguments: &[&str], unit: &Path) -> Output {
    let output = Command::new("systemd-analyze").args(arguments).arg(unit).output();
    output.expect("systemd-analyze, from the package systemd")
}

/// A template is verified as one of its instances.
fn instance(unit: &Path) -> PathBuf {
    PathBuf::from(unit.to_str().unwrap().replace("@.service", "@test.service"))
}

#[test]
fn every_unit_is_well_formed() {
    let dir = tempfile::tempdir().unwrap();
    for unit in installed(dir.path()) {
        let output = analyze(&["verify", "--man=no"], &instance(&unit));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && !said.contains("framebridge"),
            "{}: {said}",
            unit.display()
        );
    }
}

#[test]
fn systemd_and_the_supervisor_agree_on_what_no_restart_mends() {
    let dir = tempfile::tempdir().unwrap();
    let codes = exit_code::FINAL.map(|code| code.to_string()).join(" ");
    for unit in installed(dir.path()) {
        if unit.extension().is_some_and(|kind| kind == "service") {
            let text = fs::read_to_string(&unit).unwrap();
            let says = text
                .lines()
                .find_map(|line| line.strip_prefix("RestartPreventExitStatus="));
            assert_eq!(says, Some(codes.as_str()), "{}", unit.display());
        }
    }
}

#[test]
fn documents_name_every_exit_code_and_how_it_is_restarted() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/operations.md");
    let text = fs::read_to_string(path).unwrap();
    let (_, section) = text.split_once("## Exit codes of the daemons").unwrap();
    let rows = section.lines().skip_while(|line| !line.starts_with('|')).skip(2);
    let rows: Vec<Vec<&str>> = rows
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.split('|').map(str::trim).collect())
        .collect();
    let documented: Vec<u8> = rows.iter().map(|row| row[1].parse().unwrap()).collect();
    let all = [
        exit_code::OK,
        exit_code::FAILURE,
        exit_code::USAGE,
        exit_code::UNAVAILABLE,
        exit_code::SOFTWARE,
        exit_code::SOURCE,
        exit_code::TEMPORARY,
        exit_code::PROTOCOL,
        exit_code::REFUSED,
        exit_code::CONFIG,
    ];
    assert_eq!(documented, all);
    for (row, code) in rows.iter().zip(all) {
        assert_eq!(row[3].starts_with("no:"), exit_code::FINAL.contains(&code), "{row:?}");
    }
}

#[test]
fn every_service_is_confined() {
    let dir = tempfile::tempdir().unwrap();
    for unit in installed(dir.path()) {
        if unit.extension().is_some_and(|kind| kind == "service") {
            let output = analyze(&["security", "--offline=yes", "--no-pager", HIGHEST_EXPOSURE], &unit);
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        }
    }
}
