//! What is asked of one stream's encoder: a bounded queue that its link serves, and what becomes of each question.

use std::{sync::Arc, time::Duration};

use axum::http::StatusCode;
use framebridge_ipc::RequestError;
use framebridge_proto::{
    Refusal, RefusalKind,
    encoder::{EncoderAnswer, EncoderRequest},
    limits::MAX_REQUESTS,
};
use tokio::{
    sync::{
        OwnedSemaphorePermit, Semaphore,
        mpsc::{self, error::TrySendError},
        oneshot, watch,
    },
    time::timeout,
};

use crate::problem::Problem;

/// Questions waiting to be written to one encoder: room for all that may be under way.
const MAX_ASKS: usize = MAX_REQUESTS;

/// When an encoder that has all the questions it takes may have answered one.
const BUSY_RETRY: Duration = Duration::from_secs(1);

/// When a request to an encoder that is not there may be worth another try.
const ENCODER_RETRY: Duration = Duration::from_secs(1);

/// The asking end of an encoder's queue.
#[derive(Debug)]
pub(crate) struct Asks {
    queue: mpsc::Sender<Ask>,
    /// Changed by each wish for a keyframe: however many are unheard, one keyframe serves them.
    keyframes: Wishes<watch::Sender<()>>,
    /// For questions under way. Refused here, they cost the encoder nothing.
    places: Arc<Semaphore>,
}

/// Who wishes for a keyframe.
#[derive(Debug, Default)]
pub(crate) struct Wishes<T> {
    /// The media plane, for viewers; it sees to it that they do not wish too often.
    pub(crate) viewers: T,
    /// Whoever may ask by HTTP, as often as they like.
    pub(crate) outside: T,
}

/// What a handler asks an encoder.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) request: EncoderRequest,
    pub(crate) question: Question,
}

/// A question's place among those under way, and where its answer goes.
#[derive(Debug)]
pub(crate) struct Question {
    reply: oneshot::Sender<Result<EncoderAnswer, Refusal>>,
    _place: OwnedSemaphorePermit,
}

/// Why a question has no answer.
#[derive(Debug)]
pub(crate) enum AskError {
    /// As many as may be are under way; it was not asked.
    Busy,
    /// It was asked to no avail.
    Failed(RequestError),
}

impl Asks {
    /// Nothing is asked yet. The other end is the link's.
    pub(crate) fn new() -> (Self, mpsc::Receiver<Ask>) {
        let (queue, asks) = mpsc::channel(MAX_ASKS);
        let places = Arc::new(Semaphore::new(MAX_REQUESTS));
        let keyframes = Wishes::default();
        (
            Self {
                queue,
                keyframes,
                places,
            },
            asks,
        )
    }

    /// The wishes for keyframes.
    pub(crate) fn keyframes(&self) -> &Wishes<watch::Sender<()>> {
        &self.keyframes
    }

    /// Asks and waits for the answer. Up to [`MAX_REQUESTS`] are under way at once, those that were given up and are yet to be
    /// called off among them.
    pub(crate) async fn request(&self, request: EncoderRequest) -> Result<EncoderAnswer, AskError> {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            return Err(AskError::Busy);
        };
        let (reply, answer) = oneshot::channel();
        let limit = request.timeout();
        let question = Question { reply, _place: place };
        match self.queue.try_send(Ask { request, question }) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return Err(AskError::Busy),
            Err(TrySendError::Closed(_)) => return Err(AskError::Failed(RequestError::Closed)),
        }
        match timeout(limit, answer).await {
            Ok(Ok(answer)) => answer.map_err(|refusal| AskError::Failed(refusal.into())),
            Ok(Err(_link_ended)) => Err(AskError::Failed(RequestError::Closed)),
            Err(_elapsed) => Err(AskError::Failed(RequestError::Timeout)),
        }
    }
}

impl Wishes<watch::Sender<()>> {
    /// Follows what is wished from now on.
    pub(crate) fn follow(&self) -> Wishes<watch::Receiver<()>> {
        Wishes {
            viewers: self.viewers.subscribe(),
            outside: self.outside.subscribe(),
        }
    }
}

impl Question {
    /// Whether nobody waits for the answer any more.
    pub(crate) fn is_given_up(&self) -> bool {
        self.reply.is_closed()
    }

    /// Hands the answer on. An asker who has left needs none.
    pub(crate) fn answer(self, result: Result<EncoderAnswer, Refusal>) {
        _ = self.reply.send(result);
    }
}

impl From<AskError> for Problem {
    fn from(error: AskError) -> Self {
        let unavailable =
            |detail| Problem::new(StatusCode::CONFLICT, "encoder_unavailable", detail).retry_after(ENCODER_RETRY);
        let refusal = match error {
            AskError::Failed(RequestError::Refused(refusal)) => refusal,
            AskError::Failed(_) => return unavailable("The encoder did not answer.".to_owned()),
            AskError::Busy => {
                let detail = "As many requests to this stream's encoder as may be are under way.";
                let busy = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too_many_requests", detail);
                return busy.retry_after(BUSY_RETRY);
            }
        };
        match refusal.kind {
            RefusalKind::Unavailable => unavailable(refusal.message),
            RefusalKind::Invalid => Problem::new(StatusCode::BAD_REQUEST, "refused", refusal.message),
            RefusalKind::NotFound => Problem::new(StatusCode::NOT_FOUND, "refused", refusal.message),
            RefusalKind::Failed => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "failed", refusal.message),
        }
    }
}
