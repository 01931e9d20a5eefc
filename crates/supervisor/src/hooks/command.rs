//! Runs a hook's command: with what happened in its environment and as JSON on its standard input, within its time, and with what it
//! prints in the log.

use std::{env, io, path::Path, process::Stdio, time::Duration};

use framebridge_proto::exit_code;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    process::{Child, ChildStdin, Command},
    time::{sleep, timeout},
};

use super::{Failure, bulletin::Bulletin};

/// What is kept of one of its outputs, bytes: what a person reads. The rest is read and thrown away, so that it never waits for us.
const HEARD: usize = 4096;

/// What is still in its pipes once it has ended is there at once; somebody who has left its group may hold them open for ever.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// What it gets of our environment. The rest may hold secrets, and says what our service manager wants of us.
const PASSED_ON: [&str; 4] = ["PATH", "HOME", "LANG", "TZ"];

/// What waits until nobody holds the other end of its input, and then ends its process group, itself included. It heeds no signal
/// that a command sends to its own group.
const GUARD: &str = "trap '' HUP INT QUIT TERM USR1 USR2 ALRM; read _; kill -KILL 0";

/// A process group, which ends with this; and with the supervisor, however that ends: even killed it lets go of the guard's input.
struct Group {
    id: i32,
    /// The group's first process. As long as it is not waited for, the group's number is nobody else's.
    _guard: Child,
}

impl Group {
    fn new() -> io::Result<Self> {
        #[expect(
            clippy::disallowed_methods,
            reason = "this is the supervisor, and it ends what the supervisor started"
        )]
        let mut shell = Command::new("/bin/sh");
        let guard = shell
            .args(["-c", GUARD])
            .env_clear()
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let id = guard.id().and_then(|pid| i32::try_from(pid).ok());
        let id = id.ok_or_else(|| io::Error::other("the guard has ended"))?;
        Ok(Self { id, _guard: guard })
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = Pid::from_raw(self.id) {
            // Nobody may be left in it.
            _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// One of its outputs, as far as it is kept.
#[derive(Default)]
struct Heard {
    bytes: Vec<u8>,
    left_out: usize,
}

/// Runs it to its end. Whatever it has started in its process group ends with it, and all of them with the supervisor.
pub(super) async fn run(
    hook: &str,
    command: &[String],
    bulletin: &Bulletin,
    lost: u64,
    limit: Duration,
    runtime_dir: &Path,
) -> Result<(), Failure> {
    let Some((program, arguments)) = command.split_first() else {
        return Err(Failure::lasting("it has no command"));
    };
    let group = Group::new().map_err(|error| Failure::passing(format!("/bin/sh can't be run: {error}")))?;
    #[expect(
        clippy::disallowed_methods,
        reason = "the operator has named it, as he has named the sources"
    )]
    let mut started = Command::new(program);
    started
        .args(arguments)
        .env_clear()
        .envs(PASSED_ON.iter().filter_map(|name| Some((name, env::var_os(name)?))))
        .env("FRAMEBRIDGE_RUNTIME_DIR", runtime_dir)
        .envs(bulletin.variables(lost))
        .current_dir("/")
        .process_group(group.id)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = started
        .spawn()
        .map_err(|error| Failure::passing(format!("{program} can't be run: {error}")))?;
    let mut heard = [Heard::default(), Heard::default()];
    let ended = attend(&mut child, bulletin.json(lost), &mut heard, limit, group).await;
    for heard in &heard {
        heard.log(hook);
    }
    match ended {
        Ok(Some(status)) if status.success() => Ok(()),
        Ok(Some(status)) if status.code() == Some(i32::from(exit_code::TEMPORARY)) => {
            Err(Failure::passing(format!("{program} ended with exit code 75")))
        }
        Ok(Some(status)) => Err(Failure::lasting(format!("{program} ended with {status}"))),
        Ok(None) => {
            let limit = limit.as_millis();
            Err(Failure::lasting(format!(
                "{program} did not end within {limit} ms, and was killed"
            )))
        }
        Err(error) => Err(Failure::passing(format!("{program}: {error}"))),
    }
}

/// Talks to it until it ends; `None`: it did not in time. Its group is gone then.
async fn attend(
    child: &mut Child,
    told: String,
    [out, err]: &mut [Heard; 2],
    limit: Duration,
    group: Group,
) -> io::Result<Option<std::process::ExitStatus>> {
    let (stdin, mut stdout, mut stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let status = {
        let talk = async {
            tokio::join!(tell(stdin, told), out.hear(&mut stdout), err.hear(&mut stderr));
            std::future::pending::<()>().await;
        };
        tokio::select! {
            status = child.wait() => Some(status?),
            () = talk => None,
            () = sleep(limit) => None,
        }
    };
    drop(group);
    let rest = async { tokio::join!(out.hear(&mut stdout), err.hear(&mut stderr)) };
    // Whoever has left the group may hold the pipes.
    _ = timeout(LAST_WORDS, rest).await;
    Ok(status)
}

/// A command need not read what it is told.
async fn tell(stdin: Option<ChildStdin>, told: String) {
    if let Some(mut stdin) = stdin {
        // It may have ended.
        _ = stdin.write_all(told.as_bytes()).await;
    }
}

impl Heard {
    /// Listens to the end. Cancel-safe: what was heard is kept.
    async fn hear(&mut self, output: &mut Option<impl AsyncRead + Unpin>) {
        let Some(output) = output else { return };
        let mut buffer = [0; 1024];
        while let Ok(read @ 1..) = output.read(&mut buffer).await {
            let kept = read.min(HEARD - self.bytes.len());
            self.bytes.extend_from_slice(&buffer[..kept]);
            self.left_out += read - kept;
        }
    }

    fn log(&self, hook: &str) {
        for line in String::from_utf8_lossy(&self.bytes)
            .lines()
            .filter(|line| !line.is_empty())
        {
            tracing::info!(hook, "{}", framebridge_proto::plain(line, HEARD));
        }
        if self.left_out > 0 {
            tracing::info!(hook, "and {} more bytes", self.left_out);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Instant};

    use framebridge_proto::hooks::HookEvent;
    use serde_json::{Map, Value, json};

    use super::*;

    fn sh(script: &str) -> Vec<String> {
        ["/bin/sh", "-c", script].map(str::to_owned).to_vec()
    }

    async fn run_script(script: &str, limit: Duration) -> Result<(), Failure> {
        let details = Map::from_iter([("stream".to_owned(), json!("door"))]);
        let bulletin = Bulletin::new("1-1".into(), HookEvent::ViewerJoined, "hello".into(), details);
        run("door", &sh(script), &bulletin, 0, limit, Path::new("/nowhere")).await
    }

    const LONG: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn command_is_told_by_its_environment_and_by_json() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("told");
        let script = format!("(env; echo; cat) > {}", file.display());
        run_script(&script, LONG).await.expect("it is run");
        let told = fs::read_to_string(file).expect("it has run");
        let (variables, json) = told.split_once("\n\n").expect("both");
        for line in [
            "FRAMEBRIDGE_EVENT=viewer-joined",
            "FRAMEBRIDGE_EVENT_STREAM=door",
            "FRAMEBRIDGE_RUNTIME_DIR=/nowhere",
        ] {
            assert!(variables.lines().any(|known| known == line), "{line}: {variables}");
        }
        assert!(
            !variables.contains("CARGO"),
            "the environment of whoever runs us: {variables}"
        );
        let json: Value = serde_json::from_str(json).expect("JSON");
        assert_eq!(json["sentence"], "hello");
    }

    #[tokio::test]
    async fn command_that_hangs_is_ended_with_all_that_it_has_started() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("pid");
        let script = format!("sleep 1000 & echo $! > {}; wait", file.display());
        let begun = Instant::now();
        // As long as a busy machine needs to start it.
        let failure = run_script(&script, Duration::from_secs(5)).await.expect_err("it hangs");
        assert!(failure.why.contains("was killed") && !failure.again, "{failure:?}");
        assert!(begun.elapsed() < LONG);
        let pid = fs::read_to_string(file).expect("it was started");
        let gone = || {
            let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
            !stat.contains(") S ") && !stat.contains(") R ")
        };
        while !gone() {
            assert!(begun.elapsed() < LONG, "{pid} lives");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    #[tokio::test]
    async fn what_floods_its_output_or_hands_it_on_holds_nothing_up() {
        run_script("yes | head -c 10000000; yes | head -c 10000000 >&2", LONG)
            .await
            .expect("it ends");
        let begun = Instant::now();
        run_script("setsid sleep 20 & exit 0", LONG)
            .await
            .expect("it has ended");
        assert!(begun.elapsed() < Duration::from_secs(15));
    }

    #[tokio::test]
    async fn only_a_failure_that_passes_is_tried_again() {
        for (script, again) in [("exit 75", true), ("exit 1", false), ("kill -9 $$", false)] {
            let failure = run_script(script, LONG).await.expect_err("it fails");
            assert_eq!(failure.again, again, "{script}: {failure:?}");
        }
        let bulletin = Bulletin::new("1-1".into(), HookEvent::Test, String::new(), Map::new());
        let command = ["/nowhere/ring".to_owned()];
        let failure = run("door", &command, &bulletin, 0, LONG, Path::new("/")).await;
        let failure = failure.expect_err("there is none");
        assert!(failure.why.contains("/nowhere/ring can't be run"), "{failure:?}");
    }
}
