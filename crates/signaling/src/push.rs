//! Sends a stream on to a receiver elsewhere (WHIP, RFC 9725): does what [`framebridge_core::push`] decides. The session is a viewer's
//! like any other, of which the media plane takes care; this process's next life goes on with it.

mod by_tcp;
mod receiver;

use std::{
    future::{Future, pending},
    hash::{BuildHasher as _, RandomState},
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::http::Uri;
use framebridge_auth::Principal;
use framebridge_config as config;
use framebridge_core::push::{Answer, Input, Output, Push, Session};
use framebridge_proto::status::StreamState;
use framebridge_rtc::{Arrival, Begun, Offered, SessionId, ViewerState};
use tokio::time::{sleep, sleep_until};

use self::receiver::{Agreed, Came};
use crate::{
    access::now as unix_now,
    app_state::AppState,
    owners::{Owner, Pushed, brief},
    pushes::{Orders, Place},
    stream::{OwnGuest, Told},
    whep::{PARAMETERS_PATIENCE, PATIENCE, load},
};

/// While there is a session it is looked at so often, and whether there is anything to send: news of it may have been lost.
const LOOK: Duration = Duration::from_secs(1);

/// What is under way with a receiver.
type Asking = Pin<Box<dyn Future<Output = Came> + Send>>;

/// One push.
struct Sender {
    shared: Arc<AppState>,
    place: Arc<Place>,
    machine: Push,
    asking: Option<Asking>,
    /// Where the receiver has led, with the offer that goes there.
    next: Option<(Uri, Offered)>,
    open: Option<Open>,
    guest: Option<OwnGuest>,
}

/// A session that was agreed on.
struct Open {
    session: SessionId,
    /// Where it can be ended at the receiver.
    resource: Option<Uri>,
}

/// Has there be the pushes that are configured, and no others, as this life begins: sessions that an earlier life has left go on.
pub(crate) fn begin(shared: &Arc<AppState>, streams: &[config::Stream]) {
    for place in shared.pushes.set(streams) {
        let open = left(shared, &place);
        run(shared, place, open);
    }
}

/// Likewise when others are configured. A push that is configured otherwise has a session of its own: the one before is being ended.
pub(crate) fn set(shared: &Arc<AppState>, streams: &[config::Stream]) {
    for place in shared.pushes.set(streams) {
        run(shared, place, None);
    }
}

fn run(shared: &Arc<AppState>, place: Arc<Place>, open: Option<Open>) {
    let sender = Sender::new(Arc::clone(shared), place, open);
    shared.tasks.spawn_graceful(sender.run());
}

/// Ends the sessions of pushes that an earlier life has left, and that are not configured any more.
pub(crate) async fn end_unwanted(shared: Arc<AppState>) {
    for (session, owner) in shared.owners.all() {
        if owner.pushed.is_some() && !shared.pushes.has(&session) {
            tracing::info!(session = brief(&session), "is not sent on any more");
            shared.end(&session).await;
            let resource = owner.pushed.and_then(|pushed| pushed.resource?.parse().ok());
            if let Some(resource) = resource {
                // Its token is not known any more; the address is a secret itself.
                receiver::end(resource, None).await;
            }
        }
    }
}

impl Sender {
    /// A push at its place, with the session that it goes on with, if there is one.
    fn new(shared: Arc<AppState>, place: Arc<Place>, open: Option<Open>) -> Self {
        let seed = RandomState::new().hash_one(&place.push.url);
        place.set_session(open.as_ref().map(|open| open.session));
        let machine = if open.is_some() {
            Push::resumed(seed)
        } else {
            Push::new(seed)
        };
        Self {
            shared,
            place,
            machine,
            asking: None,
            next: None,
            open,
            guest: None,
        }
    }

    async fn run(mut self) {
        // What became of it before it was known here.
        self.look_at_session(Instant::now());
        let (place, stop) = (Arc::clone(&self.place), self.shared.tasks.stop().clone());
        let mut is_wanted = true;
        loop {
            self.apply().await;
            if !is_wanted {
                return;
            }
            let due = self.machine.poll_timeout().map(|(due, _)| due);
            let wait = async {
                match due {
                    Some(due) => sleep_until(due.into()).await,
                    None => pending().await,
                }
            };
            let has_session = self.open.is_some();
            let asking = async {
                match &mut self.asking {
                    Some(asking) => asking.await,
                    None => pending().await,
                }
            };
            // All arms are cancel-safe: what is under way is kept here.
            tokio::select! {
                came = asking => self.on_answer(came, Instant::now()),
                () = wait => self.machine.handle(Input::Timeout, Instant::now()),
                () = sleep(LOOK), if has_session => self.look_at_session(Instant::now()),
                () = place.rung() => is_wanted = self.on_orders(place.take_orders(), Instant::now()),
                () = stop.cancelled() => {
                    self.machine.handle(Input::End, Instant::now());
                    is_wanted = false;
                }
            }
        }
    }

    /// False: it is not wanted any more.
    fn on_orders(&mut self, orders: Orders, now: Instant) -> bool {
        self.look_at_session(now);
        let told = [
            (orders.kick, Input::Kick),
            (orders.resume, Input::Resume),
            (orders.end, Input::End),
        ];
        for (_, input) in told.into_iter().filter(|(is_told, _)| *is_told) {
            self.machine.handle(input, now);
        }
        !orders.end
    }

    fn look_at_session(&mut self, now: Instant) {
        let Some(open) = &self.open else { return };
        self.machine
            .handle(Input::Picture(absence(&self.shared, &self.place)), now);
        let state = self.shared.engine.session(&open.session).map(|info| info.state);
        let ended = || match self.shared.ended.of(&open.session) {
            Some((_, ViewerState::Closed(reason))) => reason.to_string(),
            Some(_) | None => "it was ended here".to_owned(),
        };
        let session = match state {
            Some(ViewerState::Connecting) => return,
            Some(ViewerState::Live) => Session::Live,
            Some(ViewerState::Grace) => Session::Silent,
            Some(ViewerState::Closed(_)) | None => Session::Ended(ended()),
        };
        self.machine.handle(Input::Session(session), now);
    }

    fn on_answer(&mut self, came: Came, now: Instant) {
        self.asking = None;
        let answer = match came {
            Came::Agreed(agreed) => {
                self.begin(agreed);
                Answer::Taken
            }
            Came::Redirected {
                to,
                offered,
                is_same_host,
            } => {
                self.next = Some((to, *offered));
                Answer::Redirected { is_same_host }
            }
            Came::Else(answer) => answer,
        };
        self.machine.handle(Input::Answered(answer), now);
        // It may have gone on before it was known here.
        self.look_at_session(now);
    }

    fn begin(&mut self, agreed: Agreed) {
        let Agreed {
            begun: Begun { session, listeners },
            resource,
            peer,
        } = agreed;
        let (stream, push) = (&self.place.stream, &self.place.push);
        let owner = Owner {
            principal: Principal::of_push(push.name.clone(), stream.clone()),
            address: peer,
            since: unix_now(),
            pushed: Some(Pushed {
                url: push.url.clone(),
                resource: resource.as_ref().map(Uri::to_string),
            }),
            parameter_sets: Vec::new(),
        };
        tracing::info!(%stream, session = brief(&session), push = push.name, "the receiver has agreed");
        self.place.set_session(Some(session));
        self.shared.owners.note(session, owner);
        self.open = Some(Open { session, resource });
        let stop = self.shared.tasks.stop().clone();
        let reach = by_tcp::reach(self.shared.engine.clone(), session, listeners, stop);
        // As long as its session lasts, so that the receiver is told good-bye.
        self.shared.tasks.spawn_graceful(reach);
    }

    /// Carries out what the machine wants, and shows how it goes.
    async fn apply(&mut self) {
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Offer => {
                    let (shared, place) = (Arc::clone(&self.shared), Arc::clone(&self.place));
                    self.asking = Some(Box::pin(async move { offer(&shared, &place).await }));
                }
                Output::Follow => {
                    let place = Arc::clone(&self.place);
                    self.asking = self.next.take().map(|(to, offered)| -> Asking {
                        Box::pin(async move { receiver::ask(to, authorization(&place), offered).await })
                    });
                }
                Output::Leave => self.leave().await,
            }
        }
        self.hold_source();
        let now = Instant::now();
        if self.machine.is_over() {
            let (stream, push) = (&self.place.stream, &self.place.push.name);
            tracing::info!(%stream, "push to {push} has ended");
        } else {
            self.place.show(self.machine.snapshot(now), now);
        }
    }

    async fn leave(&mut self) {
        if let Some(asking) = self.asking.take() {
            // The receiver may have taken it by now, and is told then that it ends.
            let (shared, place) = (Arc::clone(&self.shared), Arc::clone(&self.place));
            self.shared.tasks.spawn_graceful(async move {
                if let Came::Agreed(Agreed { begun, resource, .. }) = asking.await {
                    shared.end(&begun.session).await;
                    if let Some(resource) = resource {
                        receiver::end(resource, authorization(&place)).await;
                    }
                }
            });
        }
        self.place.set_session(None);
        let Some(Open { session, resource }) = self.open.take() else {
            return;
        };
        self.shared.end(&session).await;
        if let Some(resource) = resource {
            let authorization = authorization(&self.place);
            // Beside: a receiver that is gone would keep the next attempt waiting.
            self.shared
                .tasks
                .spawn_graceful(async move { receiver::end(resource, authorization).await });
        }
    }

    /// Keeps the source open while the push wants it so; of the stream as it is configured now.
    fn hold_source(&mut self) {
        let stream = self.shared.streams.get(&self.place.stream);
        let stream = stream.filter(|_| self.machine.wants_source());
        let is_held = match (&self.guest, &stream) {
            (Some(guest), Some(stream)) => guest.is_of(stream),
            (guest, stream) => guest.is_none() && stream.is_none(),
        };
        if !is_held {
            self.guest = stream.map(|stream| OwnGuest::of(&stream));
        }
    }
}

/// The session of this push that an earlier life has left.
fn left(shared: &AppState, place: &Place) -> Option<Open> {
    let mine = shared.owners.all().into_iter().find_map(|(session, owner)| {
        let pushed = owner.pushed.filter(|pushed| pushed.url == place.push.url)?;
        let info = shared.engine.session(&session)?;
        let is_mine = info.stream == place.stream
            && owner
                .principal
                .is_same(&Principal::of_push(place.push.name.clone(), place.stream.clone()));
        is_mine.then_some((session, pushed.resource))
    });
    let (session, resource) = mine?;
    Some(Open {
        session,
        resource: resource.and_then(|resource| resource.parse().ok()),
    })
}

/// Offers the stream at the configured address, once it has a picture.
async fn offer(shared: &AppState, place: &Place) -> Came {
    let none = |why: &str| Came::Else(Answer::NoPicture(why.to_owned()));
    let Some(stream) = shared.streams.get(&place.stream) else {
        return none("there is no such stream now");
    };
    if let Err(Told { reason, .. }) = stream.ready(PATIENCE).await {
        return none(reason.as_deref().unwrap_or("its source is being opened"));
    }
    if stream.health().state == StreamState::Paused {
        return none("it is paused by its operator");
    }
    let parameters = stream.parameters(PARAMETERS_PATIENCE).await;
    let Some(url) = receiver::address(&place.push.url) else {
        return Came::Else(Answer::Unreachable("its address can't be read".to_owned()));
    };
    let arrival = Arrival {
        on: None,
        is_local: receiver::is_here(&url),
    };
    let offered = shared.engine.arrived(arrival).offer(&stream.name, parameters.map(load));
    receiver::ask(url, authorization(place), offered).await
}

fn authorization(place: &Place) -> Option<String> {
    receiver::authorization(&place.push.url, place.push.token.as_deref())
}

/// Why the stream has no picture that could be sent; `None`: it has one.
fn absence(shared: &AppState, place: &Place) -> Option<String> {
    let Some(stream) = shared.streams.get(&place.stream) else {
        return Some("there is no such stream now".to_owned());
    };
    let health = stream.health();
    let reason = || health.absence().unwrap_or("its source is being opened").to_owned();
    (health.state != StreamState::Live).then(reason)
}
