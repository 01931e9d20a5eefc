//! Addresses that end, and what a studio may not do whatever it says.

use framebridge_ipc::Listener;
use framebridge_proto::supervisor::{FromSupervisor, ToSupervisor};
use framebridge_studio_proto::UsedShare;

use super::*;

impl FakeServer {
    /// Lets everybody in, and everything be changed.
    async fn willing() -> Self {
        let mut joined = 0;
        Self::answering(move |head| {
            let (status, location) = if head.starts_with("POST ") {
                joined += 1;
                ("201 Created", format!("location: /whep/test/{joined}\r\n"))
            } else {
                ("200 OK", String::new())
            };
            format!("HTTP/1.1 {status}\r\nconnection: close\r\n{location}content-length: 0\r\n\r\n")
        })
        .await
    }

    /// Whether there was a request whose line, with who it was for, begins so.
    fn was_asked(&self, wanted: &str) -> bool {
        self.asked.lock().unwrap().iter().any(|head| {
            let access = head.lines().find_map(|line| line.strip_prefix("framebridge-access: "));
            let line = head.lines().next().unwrap_or_default();
            format!("{line} for {}", access.unwrap_or("us")).starts_with(wanted)
        })
    }

    async fn until_asked(&self, wanted: &str) {
        let asked = async {
            while !self.was_asked(wanted) {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, asked)
            .await
            .unwrap_or_else(|_| panic!("never {wanted}"));
    }
}

/// What a shared address opens that lasts so long.
fn by(id: u128, left_ms: Option<u64>) -> Access {
    Access {
        control: true,
        share: Some(UsedShare {
            id: PublicId::from_bits(id),
            left_ms,
        }),
        ..Access::default()
    }
}

#[tokio::test]
async fn session_that_came_by_a_shared_address_ends_with_it_and_no_other_does() {
    let (studio, server) = (FakeStudio::start().await, FakeServer::willing().await);
    let bridge = studio.bridge(server.address);
    let mut session = studio.welcomed().await;
    let post = "/whep/test";
    assert_eq!(session.ask(1, "POST", post).await.0, 201);
    assert_eq!(session.ask_by(by(7, None), 2, "POST", post).await.0, 201);
    assert_eq!(session.ask_by(by(8, Some(300)), 3, "POST", post).await.0, 201);
    // For its viewer, whose it is: signaling ends it for nobody else.
    server.until_asked("DELETE /whep/test/3 HTTP/1.1 for view").await;
    assert_eq!(
        session.ask_by(by(8, Some(0)), 4, "GET", "/").await.0,
        404,
        "its time is up"
    );
    // The address that has no end ends when it is taken back.
    let mut operator = bridge.operator().await;
    let unsharing = operator.request(BridgeRequest::Unshare);
    let answering = async {
        let asked = |frame: &ToStudio| {
            let ToStudio::Unshare { request, .. } = frame else {
                return None;
            };
            Some(*request)
        };
        let request = session.until(asked).await;
        session.send(&ToBox::Unshared { request, ended: 1 }).await;
    };
    let (unshared, ()) = tokio::join!(unsharing, answering);
    assert_eq!(unshared.unwrap(), BridgeAnswer::Unshared { ended: 1 });
    server.until_asked("DELETE /whep/test/2 ").await;
    assert!(
        !server.was_asked("DELETE /whep/test/1 "),
        "it came by the box's own address"
    );
}

#[tokio::test]
async fn supervisor_hears_of_addresses_that_are_made_and_never_which_they_are() {
    let (studio, server) = (FakeStudio::start().await, FakeServer::start().await);
    let bridge = studio.bridge(server.address);
    let dir = RuntimeDir::at(bridge.dir.path());
    let (place, us) = (dir.place(Role::Supervisor, None), Identity::new(Role::Supervisor));
    let supervisor = Listener::<ToSupervisor, FromSupervisor>::bind(place, &us)
        .await
        .unwrap();
    let mut session = studio.welcomed().await;
    let mut operator = bridge.operator().await;
    let wanted = BridgeRequest::Share {
        stream: None,
        control: true,
        expires_s: Some(60),
    };
    let sharing = operator.request(wanted);
    let (shared, ()) = tokio::join!(sharing, session.share_as(PublicId::from_bits(2)));
    shared.unwrap();
    let told = async {
        let mut links = JoinSet::new();
        let (sender, mut happened) = mpsc::channel(1);
        loop {
            // The bridge asks on links of its own, too.
            tokio::select! {
                link = supervisor.accept() => {
                    let sender = sender.clone();
                    links.spawn(async move {
                        let Ok(mut link) = link.unwrap().handshake().await else { return };
                        while let Ok(Some(message)) = link.receiver.recv().await {
                            if let ToSupervisor::Happened(happening) = message {
                                sender.send(happening).await.unwrap();
                            }
                        }
                    });
                }
                happening = happened.recv() => return happening.unwrap(),
            }
        }
    };
    let made = Happening::ShareMade {
        stream: None,
        control: true,
        expires_s: Some(60),
    };
    assert_eq!(timeout(PATIENCE, told).await.unwrap(), made);
}

#[tokio::test]
async fn next_bridge_ends_what_its_predecessor_let_in() {
    let (studio, server) = (FakeStudio::start().await, FakeServer::willing().await);
    let bridge = studio.bridge(server.address);
    let mut session = studio.welcomed().await;
    assert_eq!(session.ask_by(by(8, Some(1500)), 1, "POST", "/whep/test").await.0, 201);
    let kept = bridge.dir.path().join("bridge.shares.json");
    let written = async {
        while !std::fs::read_to_string(&kept).is_ok_and(|text| text.contains("/whep/test/1")) {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, written).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(&kept, dir.path().join("bridge.shares.json")).unwrap();
    bridge.stop.cancel();
    bridge.ended().await.unwrap();
    assert!(!server.was_asked("DELETE "), "its time is not up");
    let worker: Worker = |context, kind| Box::pin(crate::jobs::run(context, kind));
    let _next = studio.bridge_in(dir, r#"["view"]"#, server.address, worker);
    server.until_asked("DELETE /whep/test/1 ").await;
}

#[tokio::test]
async fn studio_changes_only_what_this_boxs_operator_has_shared_to_be_changed() {
    let (studio, server) = (FakeStudio::start().await, FakeServer::willing().await);
    let bridge = studio.bridge(server.address);
    let mut session = studio.welcomed().await;
    let put = "/api/v1/streams/test/quality";
    assert_eq!(
        session.ask_by(by(8, None), 1, "PUT", put).await.0,
        403,
        "the studio's word alone"
    );
    let mut operator = bridge.operator().await;
    let wanted = BridgeRequest::Share {
        stream: None,
        control: true,
        expires_s: None,
    };
    let (sharing, answering) = (operator.request(wanted), session.share_as(PublicId::from_bits(8)));
    let (shared, ()) = tokio::join!(sharing, answering);
    shared.unwrap();
    assert_eq!(session.ask_by(by(8, None), 2, "PUT", put).await.0, 200);
    assert_eq!(
        session.ask_by(by(9, None), 3, "PUT", put).await.0,
        403,
        "another address"
    );
    let own = Access {
        control: true,
        ..Access::default()
    };
    assert_eq!(session.ask_by(own, 4, "PUT", put).await.0, 403, "none at all");
}

#[tokio::test]
async fn box_that_allows_less_says_so_and_does_less() {
    let (studio, server) = (FakeStudio::start().await, FakeServer::willing().await);
    let worker: Worker = |_, _| Box::pin(async { Ok(Made::Inline("done".into())) });
    let _bridge = studio.bridge_that(r#"["view"]"#, server.address, worker);
    let (mut session, hello) = studio.accept().await;
    assert_eq!(hello.capabilities.jobs, ["snapshot"]);
    session.welcome().await;
    let job = JobId::from_bits(1);
    session.offer(job, JobKind::Diagnose).await;
    let rejected = |frame: &ToStudio| {
        matches!(frame, ToStudio::Reject { job: refused, why: Rejection::Unsupported } if *refused == job).then_some(())
    };
    session.until(rejected).await;
    drop(session);

    let nothing = FakeStudio::start().await;
    let _bridge = nothing.bridge_that("[]", server.address, worker);
    let (mut session, hello) = nothing.accept().await;
    assert!(hello.capabilities.jobs.is_empty());
    session.welcome().await;
    assert_eq!(session.ask(1, "GET", "/").await.0, 404);
}

#[tokio::test]
async fn studio_that_sends_the_box_away_for_its_own_reasons_is_asked_again_and_its_words_are_plain() {
    let (studio, server) = (FakeStudio::start().await, FakeServer::start().await);
    let mut bridge = studio.bridge(server.address);
    let (mut session, _) = studio.accept().await;
    let (code, message) = (StudioRefusal::Fatal, "go away \u{1b}[31mfor ever".to_owned());
    session.send(&ToBox::Error(Sent { code, message })).await;
    while let Some(Ok(_)) = session.0.next().await {}
    // Who asks finds it alive, and waiting.
    let mut operator = bridge.operator().await;
    operator.request(BridgeRequest::Reconnect).await.unwrap();
    let (_session, again) = studio.accept().await;
    assert_eq!(again.token, "t");
    assert!(bridge.running.try_join_next().is_none(), "it has ended");
}
