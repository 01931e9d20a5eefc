//! The page's scripts as they are sent, shorter than they are written, mean the same.

use std::{fs, os::unix::fs::symlink, path::Path};

use framebridge_tests::{process::command, system::System};

#[test]
fn scripts_as_they_are_sent_pass_the_tests_of_what_was_written() {
    let system = System::start(&[("test", "test:")]).unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let written = root.join("crates/signaling/page");
    // As deep as in the source, for tests that look at documents, too.
    let folder = tempfile::tempdir().unwrap();
    let sent = folder.path().join("crates/signaling/page");
    fs::create_dir_all(&sent).unwrap();
    symlink(fs::canonicalize(root.join("docs")).unwrap(), folder.path().join("docs")).unwrap();
    let mut shorter = 0;
    for entry in fs::read_dir(&written).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let text = fs::read_to_string(written.join(&name)).unwrap();
        let is_script = name.ends_with(".js") && !name.ends_with(".test.js");
        let text = if is_script {
            let answer = system.get(&format!("/page/{name}")).unwrap();
            assert_eq!(answer.status, 200, "{name}");
            shorter += text.len() - answer.text().len();
            answer.text()
        } else {
            text
        };
        fs::write(sent.join(&name), text).unwrap();
    }
    assert!(shorter > 30_000, "{shorter} bytes less");
    let tested = command("node").arg("--test").current_dir(&sent).output().unwrap();
    let said = String::from_utf8_lossy(&tested.stdout);
    assert!(tested.status.success(), "{said}");
}
