//! Publishers, and those who wait for us to begin.

use std::net::{IpAddr, Ipv4Addr};

use framebridge_proto::StreamName;
use framebridge_rtc::{AnswerError, Config, PublisherEvent};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::timeout,
};

use crate::{PATIENCE, World};

/// Who answers.
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

#[tokio::test]
async fn nobody_pushes_to_itself() {
    let world = World::new(Config::default());
    let handle = world.engine.handle();
    let offered = handle.offer(&world.stream, None);
    let published = handle.publish_by(&world.stream, offered.text()).await.unwrap();
    let begun = offered.answered(&published.answer, LOOPBACK).await;
    assert_eq!(begun.unwrap_err(), AnswerError::Ourselves);
    assert!(handle.sessions().is_empty());
}

#[tokio::test]
async fn receiver_that_no_udp_reaches_is_connected_to() {
    let (sending, receiving) = (World::new(Config::default()), World::new(Config::default()));
    let live: StreamName = "live".parse().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let offered = sending.engine.handle().offer(&sending.stream, None);
    let mut published = receiving
        .engine
        .handle()
        .publish_by(&live, offered.text())
        .await
        .unwrap();
    let (ip, port) = (at.ip(), at.port());
    let passive = format!("a=candidate:1 1 tcp 5 {ip} {port} typ host tcptype passive\r\n");
    let lines = published.answer.split_inclusive("\r\n");
    let answer: String = lines.filter(|line| !line.starts_with("a=candidate")).collect();
    let begun = offered.answered(&(answer + &passive), LOOPBACK).await.unwrap();
    assert_eq!(begun.listeners, [at]);
    let (sender, receiver) = (sending.engine.handle(), receiving.engine.handle());
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let (stream, remote) = listener.accept().await.unwrap();
        receiver.serve_tcp(stream, remote).await;
    });
    let session = begun.session;
    let ours = TcpStream::connect(at).await.unwrap();
    tasks.spawn(async move { sender.serve_receiver(&session, ours, at).await });
    let mut frames = 0;
    while frames < 30 {
        let event = timeout(PATIENCE, published.publisher.next()).await.expect("it comes");
        frames += usize::from(matches!(event, Some(PublisherEvent::Unit(_))));
        assert!(event.is_some(), "it has ended");
    }
    let sender = sending.engine.handle();
    assert!(sender.leave(&session).await);
    // With the session its connection ends, at both ends.
    while let Some(ended) = timeout(PATIENCE, tasks.join_next()).await.expect("they end") {
        ended.unwrap();
    }
}

/// What comes over a connection is its session's, though both lead to one place.
#[tokio::test]
async fn two_sessions_are_sent_to_one_listener() {
    let (sending, receiving) = (World::new(Config::default()), World::new(Config::default()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let (ip, port) = (at.ip(), at.port());
    let receiver = receiving.engine.handle();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut served = JoinSet::new();
        while let Ok((stream, remote)) = listener.accept().await {
            let receiver = receiver.clone();
            served.spawn(async move { receiver.serve_tcp(stream, remote).await });
        }
    });
    let mut publishers = Vec::new();
    for name in ["live", "other"] {
        let name: StreamName = name.parse().unwrap();
        let offered = sending.engine.handle().offer(&sending.stream, None);
        let published = receiving
            .engine
            .handle()
            .publish_by(&name, offered.text())
            .await
            .unwrap();
        let lines = published.answer.split_inclusive("\r\n");
        let answer: String = lines.filter(|line| !line.starts_with("a=candidate")).collect();
        let passive = format!("a=candidate:1 1 tcp 5 {ip} {port} typ host tcptype passive\r\n");
        let session = offered.answered(&(answer + &passive), LOOPBACK).await.unwrap().session;
        let (sender, ours) = (sending.engine.handle(), TcpStream::connect(at).await.unwrap());
        tasks.spawn(async move { sender.serve_receiver(&session, ours, at).await });
        publishers.push(published.publisher);
    }
    // In turn, so that neither lives of what was sent before the other came.
    for _ in 0..20 {
        for publisher in &mut publishers {
            while !matches!(
                timeout(PATIENCE, publisher.next())
                    .await
                    .expect("it comes")
                    .expect("it goes on"),
                PublisherEvent::Unit(_)
            ) {}
        }
    }
}

/// A session whose connection ends has ended, and is begun anew without waiting for silence to tell.
#[tokio::test]
async fn session_ends_with_the_connection_that_it_goes_by() {
    let (sending, receiving) = (World::new(Config::default()), World::new(Config::default()));
    let live: StreamName = "live".parse().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let (sender, receiver) = (sending.engine.handle(), receiving.engine.handle());
    let offered = sender.offer(&sending.stream, None);
    let mut published = receiver.publish_by(&live, offered.text()).await.unwrap();
    let lines = published.answer.split_inclusive("\r\n");
    let answer: String = lines.filter(|line| !line.starts_with("a=candidate")).collect();
    let session = offered.answered(&answer, LOOPBACK).await.unwrap().session;
    let (mut far, mut near) = (JoinSet::new(), JoinSet::new());
    far.spawn(async move {
        let (stream, remote) = listener.accept().await.unwrap();
        receiver.serve_tcp(stream, remote).await;
    });
    let ours = TcpStream::connect(at).await.unwrap();
    near.spawn({
        let sender = sender.clone();
        async move { sender.serve_receiver(&session, ours, at).await }
    });
    while !matches!(
        timeout(PATIENCE, published.publisher.next())
            .await
            .expect("it comes")
            .expect("it goes on"),
        PublisherEvent::Unit(_)
    ) {}
    far.abort_all();
    timeout(PATIENCE, near.join_all()).await.expect("it ends");
    let gone = async {
        while sender.session(&session).is_some() {
            tokio::task::yield_now().await;
        }
    };
    timeout(std::time::Duration::from_secs(3), gone)
        .await
        .expect("the session has ended, too");
}

#[tokio::test]
async fn dtls_begins_where_the_publisher_wants_it() {
    let (sending, receiving) = (World::new(Config::default()), World::new(Config::default()));
    let live: StreamName = "live".parse().unwrap();
    for (offered_as, answered_as) in [("actpass", "passive"), ("active", "passive"), ("passive", "active")] {
        let offered = sending.engine.handle().offer(&sending.stream, None);
        let offer = offered
            .text()
            .replace("a=setup:actpass", &format!("a=setup:{offered_as}"));
        let mut published = receiving.engine.handle().publish_by(&live, &offer).await.unwrap();
        let setup = format!("a=setup:{answered_as}\r\n");
        assert!(published.answer.contains(&setup), "{offered_as}: {}", published.answer);
        let begun = offered.answered(&published.answer, LOOPBACK).await.unwrap();
        let mut frames = 0;
        while frames < 5 {
            let next = timeout(PATIENCE, published.publisher.next()).await;
            let event = next.unwrap_or_else(|_| panic!("{offered_as}: nothing comes"));
            frames += usize::from(matches!(event, Some(PublisherEvent::Unit(_))));
            assert!(event.is_some(), "{offered_as}: it has ended");
        }
        assert!(sending.engine.handle().leave(&begun.session).await);
    }
}
