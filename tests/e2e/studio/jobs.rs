//! What operators ask of a box, and what comes of it over a link that fails.

use std::{
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use framebridge_tests::{
    browser::Browser,
    http::Request,
    studio::{Address, Cable, Cut, Studio},
    system::System,
    wait::{self, PATIENCE},
};
use serde_json::Value;

use super::{box_at_a_studio, watch};

/// Has a box do something; the job at its end.
pub(super) fn order(studio: &Studio, address: &Address, body: &str) -> Value {
    let jobs = format!("/api/v1/boxes/{}/jobs", address.id);
    let asked = studio
        .operate(Request::new("POST", &jobs).body("application/json", body))
        .unwrap();
    let path = format!("/api/v1/jobs/{}", asked["id"].as_str().unwrap());
    wait::until("the job to end", PATIENCE, || {
        let job = studio.operate(Request::new("GET", &path))?;
        Ok(Some(job).filter(|job| !job["ended_ms"].is_null()))
    })
    .unwrap()
}

#[test]
fn operator_asks_for_a_snapshot_or_a_clip_and_gets_it() {
    let (studio, system, address) = box_at_a_studio("");
    // What is an operator's is not where boxes' pages are, and takes a token where it is.
    let asked = Request::new("GET", "/api/v1/boxes");
    assert_eq!(studio.send(&asked).unwrap().status, 404);
    assert_eq!(asked.send(studio.operators()).unwrap().status, 401);
    let boxes = studio.operate(Request::new("GET", "/api/v1/boxes")).unwrap();
    assert_eq!(boxes["boxes"][0]["name"], "box");
    // A source that nobody watches is closed and has no picture: somebody watches.
    let _page = watch(&address);
    let order = |body: &str| order(&studio, &address, body);
    let snapshot = order(r#"{"kind": "snapshot", "stream": "test"}"#);
    assert_eq!(
        (&snapshot["state"], &snapshot["media_type"]),
        (&"done".into(), &"image/jpeg".into()),
        "{snapshot}"
    );
    let result = snapshot["result"].as_str().unwrap();
    assert_eq!(
        Request::new("GET", result).send(studio.operators()).unwrap().status,
        401
    );
    let still = format!("/api/v1/boxes/{}/stills/test", address.id);
    assert!(
        studio
            .fetch(Request::new("GET", &still))
            .unwrap()
            .body
            .starts_with(&[0xff, 0xd8])
    );
    let clip = order(r#"{"kind": "clip", "stream": "test", "last_ms": 1000}"#);
    assert_eq!(clip["media_type"], "video/mp4", "{clip}");
    let diagnosis = order(r#"{"kind": "diagnose"}"#);
    let diagnosis = studio
        .operate(Request::new("GET", diagnosis["result"].as_str().unwrap()))
        .unwrap();
    assert_eq!(diagnosis["status"]["streams"][0]["name"], "test");
    assert!(diagnosis["events"].to_string().contains("encoder-test"), "{diagnosis}");
    assert!(
        diagnosis["doctor"].to_string().contains("runtime directory"),
        "{diagnosis}"
    );
    assert!(diagnosis["log"].to_string().contains("serving viewers"), "{diagnosis}");
    let unknown = order(r#"{"kind": "snapshot", "stream": "none"}"#);
    assert_eq!(unknown["state"], "failed", "{unknown}");
    // The box's log came along.
    let logs = format!("/api/v1/boxes/{}/logs", address.id);
    system.kill_and_await("encoder-test").unwrap();
    wait::until_true("the box's log to say what died", PATIENCE, || {
        let logs = studio.operate(Request::new("GET", &logs))?.to_string();
        Ok(logs.contains("encoder-test"))
    })
    .unwrap();
}

/// How many lines a bridge keeps at the most: 2000 that wait, and 20 batches of 100 that are on their way over a link that it does
/// not know to be dead.
const MOST_LINES: usize = 2000 + 20 * 100;

#[test]
fn link_that_is_cut_without_a_word_is_found_and_nothing_is_lost_that_is_not_counted() {
    let studio = Studio::start().unwrap();
    let cable = Cable::to(&studio).unwrap();
    let settings = studio.settings_through(&cable, "box").unwrap();
    let further = format!("{settings}[log]\nfilter = \"info,bridge=debug\"\n");
    let system = System::start_with(&[("test", "test:")], &further).unwrap();
    let address = studio.address_of(&system).unwrap();
    address.until("ready", PATIENCE).unwrap();
    let links = || Ok::<_, anyhow::Error>(studio.log()?.matches("a box is here").count());

    // A job's order still comes through, and its result does not.
    cable.cut(Cut::FromBox);
    let jobs = format!("/api/v1/boxes/{}/jobs", address.id);
    let diagnose = Request::new("POST", &jobs).body("application/json", r#"{"kind": "diagnose"}"#);
    let asked = studio.operate(diagnose).unwrap();
    let id = asked["id"].as_str().unwrap();
    let unacknowledged = || Ok(String::from_utf8(system.bridgectl(&["jobs"])?.stdout)?.contains(id));
    wait::until_true("the job to be done", PATIENCE, unacknowledged).unwrap();
    cable.cut(Cut::BothWays);
    let cut = Instant::now();
    // Each is a line in the bridge's log: more than it keeps.
    for _ in 0..MOST_LINES + 100 {
        drop(UnixStream::connect(system.runtime_dir().join("bridge.sock")).unwrap());
    }
    system.kill_and_await("encoder-test").unwrap();
    wait::until_true("the box to find that the link is dead", PATIENCE, || {
        Ok(system.log()?.contains("nothing came from the studio for 20 s"))
    })
    .unwrap();
    wait::pause(Duration::from_secs(30).saturating_sub(cut.elapsed())).unwrap();

    cable.cut(Cut::Nowhere);
    wait::until_true("the session to be back", PATIENCE, || {
        Ok(links()? >= 2 && address.session()?["state"] == "ready")
    })
    .unwrap();
    let logs = format!("/api/v1/boxes/{}/logs", address.id);
    wait::until_true("what was logged meanwhile", PATIENCE, || {
        let logs = studio.operate(Request::new("GET", &logs))?.to_string();
        Ok(logs.contains("killed by signal 9") && logs.contains("lines were lost here"))
    })
    .unwrap();
    let job = || studio.operate(Request::new("GET", &format!("/api/v1/jobs/{id}")));
    wait::until_true("the result", PATIENCE, || Ok(job()?["state"] == "done")).unwrap();
    wait::until_true("its receipt", PATIENCE, || Ok(!unacknowledged()?)).unwrap();

    // It came once: what has a receipt is not sent with the next link.
    let arrived = job().unwrap();
    assert!(system.bridgectl(&["bridge", "reconnect"]).unwrap().status.success());
    wait::until_true("a third link", PATIENCE, || Ok(links()? >= 3)).unwrap();
    address.until("ready", PATIENCE).unwrap();
    assert_eq!(job().unwrap(), arrived);
    let said = studio.log().unwrap();
    let done = said
        .lines()
        .filter(|line| line.contains("a job is done") && line.contains(id));
    assert_eq!(done.count(), 1, "{said}");
    let all = studio.operate(Request::new("GET", &jobs)).unwrap();
    assert_eq!(all["jobs"].as_array().unwrap().len(), 1);
}

#[test]
fn clip_that_is_made_while_the_link_is_down_is_brought_once_it_is_back() {
    let studio = Studio::start().unwrap();
    let cable = Cable::to(&studio).unwrap();
    let settings = studio.settings_through(&cable, "box").unwrap();
    let settings = format!("{settings}read_idle_ms = 12000\n");
    let system = System::start_with(&[("test", "test:")], &settings).unwrap();
    let address = studio.address_of(&system).unwrap();
    // A source that nobody watches is closed: somebody watches, and not by the link.
    let page = Browser::start().unwrap().open(&system.url("/s/test")).unwrap();
    page.until_live().unwrap();
    address.until("ready", PATIENCE).unwrap();

    let jobs = format!("/api/v1/boxes/{}/jobs", address.id);
    let clip = r#"{"kind": "clip", "stream": "test", "next_ms": 2000}"#;
    let asked = studio
        .operate(Request::new("POST", &jobs).body("application/json", clip))
        .unwrap();
    let path = format!("/api/v1/jobs/{}", asked["id"].as_str().unwrap());
    let job = || studio.operate(Request::new("GET", &path));
    wait::until_true("the clip to be begun", PATIENCE, || Ok(job()?["state"] == "running")).unwrap();
    let silences = || Ok::<_, anyhow::Error>(system.log()?.matches("nothing came from the studio for 12 s").count());
    let before = silences().unwrap();
    cable.cut(Cut::BothWays);
    wait::until_true("the clip to be made", PATIENCE, || {
        Ok(String::from_utf8(system.bridgectl(&["jobs"])?.stdout)?.contains("uploading"))
    })
    .unwrap();
    wait::until_true("the box to find that the link is dead", PATIENCE, || {
        Ok(silences()? > before)
    })
    .unwrap();
    assert_eq!(job().unwrap()["state"], "running");
    cable.cut(Cut::Nowhere);
    wait::until_true("the clip to be there", PATIENCE, || Ok(job()?["state"] == "done")).unwrap();
    let result = job().unwrap()["result"].as_str().unwrap().to_owned();
    let clip = studio.fetch(Request::new("GET", &result)).unwrap();
    assert_eq!((clip.status, clip.body.get(4..8)), (200, Some(&b"ftyp"[..])));
    assert_eq!(system.log().unwrap().matches(" a job ").count(), 1, "it was made once");
}
