//! Hooks of the real supervisor: real commands, and a server of our own.

use std::{collections::BTreeMap, fs, net::SocketAddr, path::Path, time::Duration};

use data_encoding::BASE64;
use framebridge_proto::{
    hooks::{HookStatus, HookTrial},
    supervisor::{SupervisorAnswer, SupervisorRequest},
};
use ring::hmac;
use rustix::process::Signal;
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use super::bench::{self, Bench};

/// Far more than anything here takes.
const BOUND: Duration = Duration::from_secs(40);

const SECRET: &str = "a secret that is long enough";

/// What a server was told.
struct Told {
    headers: BTreeMap<String, String>,
    body: String,
}

impl Told {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("JSON")
    }

    /// Whether it is signed with our secret, as the standard has it.
    fn is_signed(&self) -> bool {
        let header = |name: &str| self.headers.get(name).map(String::as_str).unwrap_or_default();
        let signed = format!("{}.{}.{}", header("webhook-id"), header("webhook-timestamp"), self.body);
        let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
        let tag = header("webhook-signature").strip_prefix("v1,").unwrap_or_default();
        let tag = BASE64.decode(tag.as_bytes()).unwrap_or_default();
        hmac::verify(&key, signed.as_bytes(), &tag).is_ok()
    }
}

async fn server() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    (listener, address)
}

/// Takes one request, and answers it with `status`.
async fn answer(listener: &TcpListener, status: &str) -> Told {
    timeout(BOUND, async {
        let (stream, _) = listener.accept().await.expect("somebody comes");
        take(stream, status).await
    })
    .await
    .expect("a request")
}

async fn take(stream: TcpStream, status: &str) -> Told {
    let mut stream = BufReader::new(stream);
    let (mut headers, mut line) = (BTreeMap::new(), String::new());
    loop {
        line.clear();
        stream.read_line(&mut line).await.expect("a line");
        if line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(": ") {
            headers.insert(name.to_lowercase(), value.trim().to_owned());
        }
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok());
    let mut body = vec![0; length.expect("a length")];
    stream.read_exact(&mut body).await.expect("a body");
    let response = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    stream.write_all(response.as_bytes()).await.expect("it reads");
    let body = String::from_utf8(body).expect("text");
    Told { headers, body }
}

async fn hooks(bench: &Bench) -> Vec<HookStatus> {
    let answer = bench.ask(SupervisorRequest::Hooks).await.expect("an answer");
    let SupervisorAnswer::Hooks(hooks) = answer else {
        panic!("another answer: {answer:?}")
    };
    hooks
}

async fn attempt(bench: &Bench, hook: &str) -> HookTrial {
    let request = SupervisorRequest::TryHook { hook: hook.into() };
    let answer = bench.ask(request).await.expect("an answer");
    let SupervisorAnswer::HookTried(trial) = answer else {
        panic!("another answer: {answer:?}")
    };
    trial
}

/// Waits for a file that a command writes whole.
async fn written(path: &Path) -> String {
    bench::wait("the command", || path.exists()).await;
    fs::read_to_string(path).expect("it is there")
}

async fn kill_the_encoder(bench: &Bench) {
    let status = bench.healthy().await;
    let pid = bench::row(&status, "encoder-test").pid.expect("it runs");
    bench::signal(pid, Signal::KILL);
}

#[tokio::test]
async fn command_is_told_of_a_process_that_was_restarted() {
    let scratch = tempfile::tempdir().expect("a directory");
    let (told, fresh) = (scratch.path().join("told"), scratch.path().join("fresh"));
    let script = format!("cat > {0} && mv {0} {1}", fresh.display(), told.display());
    let bench = Bench::start(&format!(
        "[hooks.file]\ncommand = [\"/bin/sh\", \"-c\", \"{script}\"]\nevents = [\"process-restarted\"]\n"
    ));
    kill_the_encoder(&bench).await;
    let event: Value = serde_json::from_str(&written(&told).await).expect("JSON");
    assert_eq!(event["event"], "process-restarted");
    assert_eq!(
        (&event["process"], &event["stream"]),
        (&"encoder-test".into(), &"test".into())
    );
    assert!(event["recovery_ms"].as_u64().is_some_and(|ms| ms > 0), "{event}");
    let sentence = event["sentence"].as_str().unwrap_or_default();
    assert!(sentence.contains("killed by signal 9"), "{sentence}");
}

#[tokio::test]
async fn start_of_everything_is_no_fault_and_a_death_is_one() {
    let scratch = tempfile::tempdir().expect("a directory");
    let diary = scratch.path().join("diary");
    let script = format!(
        "echo $FRAMEBRIDGE_EVENT_FROM $FRAMEBRIDGE_EVENT_TO >> {}",
        diary.display()
    );
    let bench = Bench::start(&format!(
        "[hooks.diary]\ncommand = [\"/bin/sh\", \"-c\", \"{script}\"]\nevents = [\"stream-state\"]\n"
    ));
    kill_the_encoder(&bench).await;
    let told = || fs::read_to_string(&diary).unwrap_or_default();
    bench::wait("both to be told", || told().lines().count() >= 2).await;
    assert_eq!(told(), "well encoder_down\nencoder_down well\n");
}

#[tokio::test]
async fn server_that_fails_twice_is_asked_a_third_time_and_everything_is_signed() {
    let scratch = tempfile::tempdir().expect("a directory");
    let secret = scratch.path().join("secret");
    fs::write(&secret, format!("{SECRET}\n")).expect("written");
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(&secret, private).expect("ours");
    let (listener, address) = server().await;
    let bench = Bench::start(&format!(
        "[hooks.pager]\nurl = \"http://{address}/in?x=1\"\nsecret_file = \"{}\"\nevents = [\"process-restarted\"]\n",
        secret.display()
    ));
    kill_the_encoder(&bench).await;
    let mut attempts = Vec::new();
    for status in ["500 No", "503 No", "204 Yes"] {
        attempts.push(answer(&listener, status).await);
    }
    assert!(attempts.iter().all(Told::is_signed));
    let ids: Vec<_> = attempts.iter().map(|told| &told.headers["webhook-id"]).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "one event: {ids:?}");
    assert_eq!(attempts[2].json()["event"], "process-restarted");
    let told = timeout(BOUND, async {
        loop {
            let hooks = hooks(&bench).await;
            if hooks[0].delivered == 1 {
                return hooks;
            }
        }
    })
    .await
    .expect("it is known to be told");
    assert_eq!((told[0].waiting, told[0].failures, &told[0].last_error), (0, 0, &None));
    assert_eq!(told[0].target, format!("http://{address}"));
}

#[tokio::test]
async fn hook_that_hangs_is_ended_and_nothing_waits_for_it() {
    let (listener, address) = server().await;
    let bench = Bench::start(&format!(
        "[hooks.hangs]\ncommand = [\"/bin/sleep\", \"60\"]\ntimeout_ms = 60000\n\
         [hooks.silent]\nurl = \"http://192.0.2.1/\"\ntimeout_ms = 60000\n\
         [hooks.well]\nurl = \"http://{address}/\"\nevents = [\"process-restarted\"]\n\
         [hooks.slow]\ncommand = [\"/bin/sleep\", \"60\"]\ntimeout_ms = 200\nevents = [\"disk\"]\n"
    ));
    kill_the_encoder(&bench).await;
    answer(&listener, "200 OK").await;
    bench.healthy().await;
    let waiting: Vec<_> = hooks(&bench)
        .await
        .into_iter()
        .map(|hook| (hook.name, hook.delivered))
        .collect();
    assert_eq!(waiting[0], ("hangs".into(), 0));
    let trial = attempt(&bench, "slow").await;
    let why = trial.error.expect("it hangs");
    assert!(why.contains("/bin/sleep did not end within 200 ms"), "{why}");
}

#[tokio::test]
async fn hooks_are_tried_on_request_and_others_come_with_the_configuration() {
    let bench = Bench::start("[hooks.yes]\ncommand = [\"/bin/true\"]\n[hooks.no]\ncommand = [\"/bin/false\"]\n");
    bench.healthy().await;
    assert_eq!(attempt(&bench, "yes").await.error, None);
    let why = attempt(&bench, "no").await.error.expect("it fails");
    assert!(why.contains("/bin/false ended with exit status: 1"), "{why}");
    let request = |hook: &str| SupervisorRequest::TryHook { hook: hook.into() };
    assert!(bench.ask(request("nobody")).await.is_err());

    bench.configure("[streams.test]\nsource = \"test:\"\n[hooks.other]\ncommand = [\"/bin/true\"]\n");
    bench.ask(SupervisorRequest::Reload).await.expect("it is read");
    let hooks = hooks(&bench).await;
    let names: Vec<_> = hooks.iter().map(|hook| hook.name.as_str()).collect();
    assert_eq!(names, ["other"]);
}
