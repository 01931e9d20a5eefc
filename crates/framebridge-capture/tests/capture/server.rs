//! What sources are on a network: servers of FFmpeg's own program, and small ones that answer as they are told.

use std::{
    io::{BufRead as _, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use framebridge_capture::{Interrupt, Source, SourceError};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::config;

/// Long enough for any machine.
pub(crate) const BOUND: Duration = Duration::from_secs(30);

/// A port that nobody had a moment ago.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// FFmpeg's own program, sending until it is dropped.
pub(crate) struct Sender(Child);

impl Sender {
    /// Sends what the graph paints, in real time.
    pub(crate) fn start(graph: &str, output: &[&str]) -> Self {
        let arguments = ["-nostdin", "-y", "-v", "error", "-re", "-f", "lavfi", "-i", graph];
        #[expect(clippy::disallowed_methods, reason = "the other end of what is tested")]
        let child = Command::new("ffmpeg")
            .args(arguments)
            .args(output)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        // It may have ended by itself.
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

/// Opens a source as soon as somebody is there.
pub(crate) fn open_soon(url: &str) -> Source {
    let started = Instant::now();
    loop {
        match Source::open(&config(url, 30), &Interrupt::new()) {
            Ok(source) => return source,
            Err(error) => {
                let can_come = matches!(error, SourceError::Open(_) | SourceError::OpenTimeout { .. });
                assert!(can_come && started.elapsed() < BOUND, "{url}: {error:?}");
                pause();
            }
        }
    }
}

/// Between two looks at what is waited for.
pub(crate) fn pause() {
    Interrupt::new().wait_until(Instant::now() + Duration::from_millis(20));
}

/// Answers one request after another as it is told, on HTTP and on RTSP.
pub(crate) struct Server {
    pub(crate) port: u16,
    /// The requests that came, with their headers.
    pub(crate) heard: Arc<Mutex<Vec<String>>>,
    pub(crate) connections: Arc<AtomicUsize>,
}

impl Server {
    /// `answer` gives what is sent for a request, its number in its connection first; the connection ends where that is empty.
    pub(crate) fn start(answer: impl Fn(usize, &str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::start_with(None, answer)
    }

    /// The same over TLS.
    pub(crate) fn start_with(
        tls: Option<Arc<ServerConfig>>,
        answer: impl Fn(usize, &str) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (heard, connections) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<AtomicUsize>::default());
        let (hears, counts, answer) = (Arc::clone(&heard), Arc::clone(&connections), Arc::new(answer));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                counts.fetch_add(1, Ordering::Relaxed);
                let (hears, answer, tls) = (Arc::clone(&hears), Arc::clone(&answer), tls.clone());
                thread::spawn(move || match tls {
                    Some(config) => {
                        let connection = ServerConnection::new(config).unwrap();
                        serve(StreamOwned::new(connection, client), &hears, &*answer);
                    }
                    None => serve(client, &hears, &*answer),
                });
            }
        });
        Self {
            port,
            heard,
            connections,
        }
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

fn serve(client: impl Read + Write, heard: &Mutex<Vec<String>>, answer: &dyn Fn(usize, &str) -> Vec<u8>) {
    let mut client = BufReader::new(client);
    for number in 0.. {
        let mut request = String::new();
        loop {
            let before = request.len();
            // Who goes away is done.
            if client.read_line(&mut request).unwrap_or(0) == 0 {
                return;
            }
            if request[before..].trim().is_empty() {
                break;
            }
        }
        heard.lock().unwrap().push(request.clone());
        let answer = answer(number, &request);
        if answer.is_empty() || client.get_mut().write_all(&answer).is_err() || client.get_mut().flush().is_err() {
            return;
        }
    }
}

/// An RTSP answer to `request`.
pub(crate) fn rtsp(request: &str, status: &str, headers: &str) -> Vec<u8> {
    let number = request
        .lines()
        .find(|line| line.starts_with("CSeq:"))
        .unwrap_or("CSeq: 0");
    format!("RTSP/1.0 {status}\r\n{number}\r\n{headers}\r\n").into_bytes()
}

/// An HTTP answer with a body.
pub(crate) fn http(status: &str, kind: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// A port where nobody may connect: what comes is counted.
pub(crate) fn trap() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let caught = Arc::<AtomicUsize>::default();
    let counts = Arc::clone(&caught);
    thread::spawn(move || {
        for client in listener.incoming() {
            counts.fetch_add(1, Ordering::Relaxed);
            drop::<Result<TcpStream, _>>(client);
        }
    });
    (port, caught)
}
