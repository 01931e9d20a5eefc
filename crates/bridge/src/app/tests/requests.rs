//! What viewers ask.

use framebridge_studio_proto::limits::{RPC_FILMS, RPC_IN_FLIGHT};

use super::*;

#[tokio::test]
async fn requests_reach_the_server_without_what_must_not_travel() {
    let (studio, server) = (FakeStudio::start().await, FakeServer::start().await);
    let bridge = studio.bridge(server.address);
    let mut session = studio.welcomed().await;
    let (status, echo) = session.ask(1, "GET", "/api/v1/streams?x=1").await;
    assert_eq!(status, 200);
    assert!(echo.starts_with("GET /api/v1/streams?x=1 HTTP/1.1"), "{echo}");
    assert!(echo.contains("accept: */*") && !echo.contains("secret"), "{echo}");
    bridge.stop.cancel();
    let goodbye = session.until(|frame| {
        matches!(
            frame,
            ToStudio::Goodbye {
                ending: Farewell::Expired,
                ..
            }
        )
        .then_some(())
    });
    goodbye.await;
    bridge.ended().await.unwrap();
}

/// Takes the next connection that is not the bridge's own probe, and begins an answer of unknown length on it.
async fn begin_answer(server: &TcpListener) -> TcpStream {
    loop {
        let (mut stream, _) = timeout(PATIENCE, server.accept()).await.unwrap().unwrap();
        let (_, probe) = read_head(&mut stream).await;
        let answer: &[u8] = if probe {
            NOTHING
        } else {
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n4\r\none\n\r\n"
        };
        stream.write_all(answer).await.unwrap();
        if !probe {
            return stream;
        }
    }
}

#[tokio::test]
async fn streamed_answer_is_passed_on_as_it_comes_and_ends_only_where_it_ends() {
    let (studio, server) = (
        FakeStudio::start().await,
        TcpListener::bind(("127.0.0.1", 0)).await.unwrap(),
    );
    let _bridge = studio.bridge(server.local_addr().unwrap());
    let mut session = studio.welcomed().await;
    let part = |frame: &ToStudio| {
        let ToStudio::RpcChunk(chunk) = frame else { return None };
        Some((chunk.id.0, chunk.data.0.clone(), chunk.end))
    };
    let ask = |id| RpcRequest {
        id: RpcId(id),
        method: "GET".into(),
        path: "/api/v1/streams".into(),
        headers: vec![],
        access: Access::default(),
        data: Bytes64::default(),
        end: true,
    };
    for (id, goes_on) in [(1, false), (2, true)] {
        session.send(&ToBox::RpcRequest(ask(id))).await;
        let mut stream = begin_answer(&server).await;
        assert_eq!(session.until(part).await, (id, b"one\n".to_vec(), false));
        if goes_on {
            // Nobody waits for it any more: the server hears so. The one before, which broke off, never came to an end.
            session.send(&ToBox::RpcCancel { id: RpcId(id) }).await;
            assert_eq!(timeout(PATIENCE, stream.read(&mut [0])).await.unwrap().unwrap(), 0);
        }
    }
}

#[tokio::test]
async fn film_may_be_longer_than_any_other_answer() {
    let studio = FakeStudio::start().await;
    let server = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let _bridge = studio.bridge(server.local_addr().unwrap());
    let mut session = studio.welcomed().await;
    let request = RpcRequest {
        id: RpcId(1),
        method: "GET".into(),
        path: "/api/v1/streams/test/live.mp4".into(),
        headers: vec![],
        access: Access::default(),
        data: Bytes64::default(),
        end: true,
    };
    session.send(&ToBox::RpcRequest(request)).await;
    let length = 2 * framebridge_studio_proto::limits::MAX_RESPONSE_BODY;
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        while let Ok((mut stream, _)) = server.accept().await {
            let (_, is_probe) = read_head(&mut stream).await;
            if is_probe {
                stream.write_all(NOTHING).await.unwrap();
                continue;
            }
            let head = b"HTTP/1.1 200 OK\r\ncontent-type: video/mp4\r\ntransfer-encoding: chunked\r\n\r\n";
            stream.write_all(head).await.unwrap();
            let chunk = [format!("{length:x}\r\n").as_bytes(), &vec![7; length], b"\r\n0\r\n\r\n"].concat();
            stream.write_all(&chunk).await.unwrap();
        }
    });
    let part = |frame: &ToStudio| {
        let ToStudio::RpcChunk(chunk) = frame else { return None };
        Some((chunk.data.0.len(), chunk.end))
    };
    let mut came = 0;
    loop {
        let (bytes, is_end) = session.until(part).await;
        came += bytes;
        if is_end {
            break;
        }
    }
    assert_eq!(came, length);
}

#[tokio::test]
async fn films_that_wait_for_a_camera_hold_up_nothing_else() {
    let studio = FakeStudio::start().await;
    let server = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let _bridge = studio.bridge(server.local_addr().unwrap());
    let mut session = studio.welcomed().await;
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        let mut waiting = Vec::new();
        while let Ok((mut stream, _)) = server.accept().await {
            let (head, _) = read_head(&mut stream).await;
            if head.contains("/live.mp4") {
                waiting.push(stream);
            } else {
                // A bridge that hung up does not care.
                _ = stream.write_all(NOTHING).await;
            }
        }
    });
    let ask = |id, path: &str| {
        ToBox::RpcRequest(RpcRequest {
            id: RpcId(id),
            method: "GET".into(),
            path: path.into(),
            headers: vec![],
            access: Access::default(),
            data: Bytes64::default(),
            end: true,
        })
    };
    let films = u64::try_from(RPC_FILMS).unwrap();
    for id in 1..=u64::try_from(RPC_IN_FLIGHT).unwrap() {
        session.send(&ask(id, "/api/v1/streams/test/live.mp4?instead=1")).await;
    }
    session.send(&ask(100, "/api/v1/streams")).await;
    let answer = |frame: &ToStudio| {
        let ToStudio::RpcResponse(response) = frame else {
            return None;
        };
        Some((response.id.0, response.status))
    };
    let mut answers = BTreeMap::new();
    // Those that wait are answered after 25 s.
    while answers.len() <= RPC_IN_FLIGHT - RPC_FILMS {
        let (id, status) = timeout(Duration::from_secs(15), session.until(answer)).await.unwrap();
        answers.insert(id, status);
    }
    assert_eq!(answers.remove(&100), Some(200));
    assert!(
        answers.iter().all(|(id, status)| *id <= 2 * films && *status == 503),
        "{answers:?}"
    );
}

#[tokio::test]
async fn get_that_fails_is_asked_once_more_and_nothing_else_is() {
    let studio = FakeStudio::start().await;
    let server = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let _bridge = studio.bridge(server.local_addr().unwrap());
    let mut session = studio.welcomed().await;
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        // Whatever is asked first at its path gets no answer.
        while let Ok((mut stream, _)) = server.accept().await {
            let (head, is_probe) = read_head(&mut stream).await;
            let line = head.lines().next().unwrap_or_default().to_owned();
            let is_known = seen.lock().unwrap().contains(&line);
            if !is_probe {
                seen.lock().unwrap().push(line);
            }
            if is_probe || is_known {
                // A bridge that hung up does not care.
                _ = stream.write_all(NOTHING).await;
            }
        }
    });
    let times = |method: &str| {
        let asked = asked.lock().unwrap();
        asked.iter().filter(|line| line.starts_with(method)).count()
    };
    assert_eq!(session.ask(1, "GET", "/api/v1/streams").await.0, 200);
    assert_eq!(times("GET "), 2);
    for (id, method, path) in [(2, "POST", "/whep/test"), (3, "DELETE", "/whep/test/1")] {
        let (status, problem) = session.ask(id, method, path).await;
        assert!(
            status == 502 && problem.contains("box_server_down"),
            "{status} {problem}"
        );
        assert_eq!(times(method), 1, "{method}");
    }
}

#[tokio::test]
async fn eight_are_asked_at_once_the_rest_waits_and_past_the_bound_they_are_told() {
    let studio = FakeStudio::start().await;
    let server = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let _bridge = studio.bridge(server.local_addr().unwrap());
    let mut session = studio.welcomed().await;
    let (held, holding) = (Arc::new(tokio::sync::Semaphore::new(0)), Arc::new(Mutex::new((0, 0))));
    let (release, counted) = (Arc::clone(&held), Arc::clone(&holding));
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        let mut answering = JoinSet::new();
        while let Ok((mut stream, _)) = server.accept().await {
            let (held, holding) = (Arc::clone(&held), Arc::clone(&holding));
            answering.spawn(async move {
                if !read_head(&mut stream).await.1 {
                    {
                        let mut now = holding.lock().unwrap();
                        now.0 += 1;
                        now.1 = now.0.max(now.1);
                    }
                    held.acquire().await.unwrap().forget();
                    holding.lock().unwrap().0 -= 1;
                }
                // A bridge that hung up does not care.
                _ = stream.write_all(NOTHING).await;
            });
        }
    });
    let most = u64::try_from(limits::RPC_OPEN).unwrap();
    for id in 0..=most {
        session
            .send(&ToBox::RpcRequest(RpcRequest {
                id: RpcId(id),
                method: "GET".into(),
                path: "/api/v1/streams".into(),
                headers: vec![],
                access: Access::default(),
                data: Bytes64::default(),
                end: true,
            }))
            .await;
    }
    let answer = |frame: &ToStudio| {
        let ToStudio::RpcResponse(response) = frame else {
            return None;
        };
        Some((response.id.0, response.status))
    };
    assert_eq!(session.until(answer).await, (most, 503), "one too many");
    let all_held = async {
        while counted.lock().unwrap().0 < limits::RPC_IN_FLIGHT {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, all_held).await.unwrap();
    release.add_permits(limits::RPC_OPEN);
    for _ in 0..most {
        assert_eq!(session.until(answer).await.1, 200);
    }
    assert_eq!(
        *counted.lock().unwrap(),
        (0, limits::RPC_IN_FLIGHT),
        "left, and at most"
    );
}

#[tokio::test]
async fn what_a_studio_may_not_ask_never_reaches_the_server_and_garbage_costs_the_link_only() {
    let (studio, server) = (FakeStudio::start().await, FakeServer::start().await);
    let _bridge = studio.bridge(server.address);
    let mut session = studio.welcomed().await;
    let asked = [
        ("GET", "/api/v1/config", 404),
        ("GET", "/page/../health", 404),
        ("POST", "/api/v1/debug/stall-encoder", 404),
        ("GET", "/x\r\nhost: evil", 404),
        ("GET", "http://127.0.0.1:1/", 404),
        ("PUT", "/api/v1/streams/test/quality", 403),
    ];
    for (id, (method, path, expected)) in (1..).zip(asked) {
        assert_eq!(session.ask(id, method, path).await.0, expected, "{method} {path}");
    }
    session.send_text(r#"{"type":"teleport"}"#.into()).await;
    session.send(&ToBox::RpcCancel { id: RpcId(99) }).await;
    let unknown = JobId::from_bits(1);
    session
        .offer(
            unknown,
            JobKind::Snapshot {
                stream: "none".parse().unwrap(),
                png: false,
            },
        )
        .await;
    let rejected = |frame: &ToStudio| {
        matches!(frame, ToStudio::Reject { job, why: Rejection::Unsupported } if *job == unknown).then_some(())
    };
    session.until(rejected).await;
    for garbage in [
        "nonsense".to_owned(),
        "{}".to_owned(),
        format!("\"{}\"", "x".repeat(limits::MAX_FRAME)),
    ] {
        session.send_text(garbage).await;
        session = studio.welcomed().await;
    }
    assert_eq!(session.ask(100, "GET", "/api/v1/streams").await.0, 200);
    assert_eq!(server.asked(), ["GET /api/v1/streams HTTP/1.1"]);
}

#[tokio::test]
async fn box_without_a_server_never_says_ready_and_its_viewers_are_told() {
    let studio = FakeStudio::start().await;
    let nobody = TcpListener::bind(("127.0.0.1", 0)).await.unwrap().local_addr().unwrap();
    let _bridge = studio.bridge(nobody);
    let mut session = studio.welcomed().await;
    let (status, problem) = session.ask(1, "GET", "/api/v1/streams").await;
    assert!(
        status == 502 && problem.contains("box_server_down"),
        "{status} {problem}"
    );
    for _ in 0..3 {
        let state = |frame: &ToStudio| {
            if let ToStudio::Heartbeat(beat) = frame {
                Some(beat.state)
            } else {
                None
            }
        };
        assert_eq!(session.until(state).await, BoxState::Starting);
    }
}
