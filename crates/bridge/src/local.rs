//! Watches this machine for the bridge: the box's own server, its supervisor, and the service manager.

use std::time::Duration;

use framebridge_ipc::{Identity, PidFd, RuntimeDir, SupervisorClient};
use framebridge_proto::{
    Role,
    limits::RECONNECT_INTERVAL,
    process_name,
    supervisor::{SupervisorAnswer, SupervisorRequest},
};
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval, sleep},
};

use crate::{
    event::{Event, LocalEvent},
    proxy::Proxy,
};

/// How often the box's own server and its supervisor are asked.
const INTERVAL: Duration = Duration::from_secs(1);

/// How long the box's own server may take: it has other things to do.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// Asks the box's own server now and then, as long as it is polled.
pub(crate) async fn watch_server(proxy: Proxy, events: mpsc::Sender<Event>) {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let answered = proxy.probe(PROBE_TIMEOUT).await;
        if events.send(Event::Local(LocalEvent::Probed(answered))).await.is_err() {
            return;
        }
    }
}

/// Asks the supervisor now and then, and notices its end, as long as it is polled. Whether it lives is for its process to
/// say: one that does not answer is not gone.
pub(crate) async fn watch_supervisor(dir: RuntimeDir, identity: Identity, events: mpsc::Sender<Event>) {
    let mut life: Option<PidFd> = None;
    loop {
        if let Ok(mut client) = SupervisorClient::connect(&dir, &identity).await {
            life = PidFd::of(client.peer().pid);
            if let Some(living) = &life {
                tokio::select! {
                    () = ask(&mut client, &events) => {}
                    () = ended(living) => {}
                }
            }
        }
        if life.as_ref().is_some_and(PidFd::has_ended) {
            life = None;
            if events.send(Event::Local(LocalEvent::SupervisorGone)).await.is_err() {
                return;
            }
        }
        sleep(RECONNECT_INTERVAL).await;
    }
}

/// Passes the supervisor's status on each second, until it does not answer.
async fn ask(client: &mut SupervisorClient, events: &mpsc::Sender<Event>) {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let answer = client.request(SupervisorRequest::Status).await;
        let (event, is_over) = match answer {
            Ok(SupervisorAnswer::Status(status)) => (LocalEvent::Status(Box::new(status)), false),
            Ok(_) | Err(_) => (LocalEvent::SupervisorSilent, true),
        };
        if events.send(Event::Local(event)).await.is_err() || is_over {
            return;
        }
    }
}

/// Asks the supervisor to start signaling again.
pub(crate) async fn restart_signaling(dir: RuntimeDir, identity: Identity) -> LocalEvent {
    let asked = async {
        let mut client = SupervisorClient::connect(&dir, &identity).await?;
        let process = process_name(Role::Signaling, None);
        client.request(SupervisorRequest::Restart { process }).await?;
        anyhow::Ok(())
    };
    LocalEvent::RestartAnswered(asked.await.map_err(|error| format!("{error:#}")))
}

/// Waits for the end of whoever started us.
pub(crate) async fn watch_parent(pid: u32, events: mpsc::Sender<Event>) {
    if let Some(life) = PidFd::of(pid) {
        ended(&life).await;
    }
    // With the app gone there is nobody to tell.
    _ = events.send(Event::Local(LocalEvent::ParentGone)).await;
}

/// How often a process is looked at: far finer than what follows from its end.
const LOOK: Duration = Duration::from_millis(200);

/// Waits for a process's end. Cancel-safe.
async fn ended(life: &PidFd) {
    while !life.has_ended() {
        sleep(LOOK).await;
    }
}
