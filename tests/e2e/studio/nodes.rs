//! A studio of two nodes with a real NATS server between them.

use std::time::Duration;

use framebridge_tests::{
    http::Request,
    services::Service,
    studio::Studio,
    system::System,
    wait::{self, PATIENCE},
};

use super::{jobs::order, receive_for, watch};

const GLANCE: Duration = Duration::from_secs(2);

/// Which of the other nodes this one hears.
fn others(studio: &Studio) -> anyhow::Result<usize> {
    let health = studio.get("/api/v1/health")?.json()?;
    Ok(health["nodes"]["others"].as_array().map_or(0, Vec::len))
}

fn linked_to(studio: &Studio) -> anyhow::Result<usize> {
    Ok(studio.log()?.matches("a box is here").count())
}

#[test]
fn box_is_watched_from_any_node_and_moves_to_the_other_when_its_own_dies() {
    let mut nats = Service::nats().unwrap();
    let url = format!("nats://{}", nats.address());
    let [mut one, two] = [(), ()].map(|()| Studio::start_with(&["--nats", &url]).unwrap());
    wait::until_true("the nodes to meet", PATIENCE, || {
        Ok(others(&one)? == 1 && others(&two)? == 1)
    })
    .unwrap();

    // The token is made at one node, a moment before the box comes to the other, too.
    let token = two.token(&["new", "box"]).unwrap();
    let urls = [&one, &two].map(|studio| format!("http://{}", studio.address()));
    let settings = Studio::settings_at(&[&urls[0], &urls[1]], &token);
    let system = System::start_with(&[("test", "test:")], &settings).unwrap();
    let at_one = one.address_of(&system).unwrap();
    let at_two = at_one.at(&two);
    at_two.until("ready", PATIENCE).unwrap();
    assert_eq!((linked_to(&one).unwrap(), linked_to(&two).unwrap()), (1, 0));

    // Watched, and asked for a picture, at the node that does not have it.
    let page = watch(&at_two);
    let snapshot = order(&two, &at_two, r#"{"kind": "snapshot", "stream": "test"}"#);
    assert_eq!(snapshot["state"], "done", "{snapshot}");
    let authorised = Request::new("GET", snapshot["result"].as_str().unwrap());
    let picture = two.fetch(authorised).unwrap();
    assert_eq!((picture.status, &picture.body[..2]), (200, &[0xff, 0xd8][..]));

    one.kill().unwrap();
    wait::until_true("the box to come to the other node", PATIENCE, || {
        Ok(linked_to(&two)? == 1)
    })
    .unwrap();
    at_two.until("ready", PATIENCE).unwrap();
    receive_for(&two, &at_two, GLANCE);
    page.until_live().unwrap();

    // The node that comes back knows the address, and reaches the box where it is now.
    one.start_again().unwrap();
    at_one.until("ready", PATIENCE).unwrap();
    receive_for(&one, &at_one, GLANCE);
    assert_eq!(linked_to(&one).unwrap(), 1);

    // Without NATS the node that has the box serves it, and the other says what it can't know.
    nats.kill().unwrap();
    let session = at_one.until("degraded", PATIENCE).unwrap();
    assert!(session["reason"].as_str().unwrap().contains("cut off"), "{session}");
    let health = one.get("/api/v1/health").unwrap().json().unwrap();
    assert_eq!(health["nodes"]["connected"], false, "{health}");
    assert_eq!(one.get(&at_one.path("/api/v1/streams")).unwrap().status, 503);
    receive_for(&two, &at_two, GLANCE);
    nats.start_again().unwrap();
    at_one.until("ready", PATIENCE).unwrap();
    receive_for(&one, &at_one, GLANCE);
}
