//! Requests and answers as they pass: whose they are, what is added to them, what is learnt of them.

use std::{collections::VecDeque, io, net::IpAddr, sync::PoisonError};

use bytes::BytesMut;
use framebridge_config::{Address, Protocol, without_secrets};
use framebridge_proto::plain;

use super::{
    CameraError, Refusal,
    auth::{self, Challenge},
    message::{self, Message, Unit},
};

/// Requests that wait for their answers: FFmpeg has one, and a sign of life beside it, which some cameras never answer. Older
/// ones are forgotten.
const MOST_OPEN: usize = 16;

/// A request is sent so often with credentials: once more where the camera says that its question was out of date.
const MOST_TRIES: u32 = 2;

/// How often a camera may say that a stream is elsewhere at itself.
const MOST_MOVES: u32 = 4;

/// What a camera says of a refusal is cut here.
const MOST_WORDS: usize = 120;

/// What is known of one connection.
pub(super) struct Exchange {
    /// What FFmpeg's URIs begin with, and what the camera's do.
    base: String,
    real: String,
    /// Where the camera sends from.
    camera: IpAddr,
    credentials: Option<(String, String)>,
    challenge: Option<Challenge>,
    refusal: Refusal,
    /// Whether FFmpeg has shown that it is the one that was told the URL.
    known: bool,
    open: VecDeque<Open>,
    /// The number of our last request.
    number: u32,
    /// What the camera calls all of its streams together.
    all: String,
    /// The session at the camera, once there is one.
    session: Option<String>,
    said_goodbye: bool,
    /// How often it has said that its stream is elsewhere.
    moves: u32,
}

/// A request without its answer.
struct Open {
    /// Its number on our side, and on FFmpeg's; none of FFmpeg's where it is our own.
    number: u32,
    theirs: Option<String>,
    /// As it is to be sent, without number and credentials.
    request: Message,
    /// How often it was sent with credentials.
    tries: u32,
}

impl Exchange {
    pub(super) fn new(
        base: String,
        real: String,
        camera: IpAddr,
        credentials: Option<(String, String)>,
        refusal: Refusal,
    ) -> Self {
        Self {
            base,
            all: real.clone(),
            real,
            camera,
            credentials,
            challenge: None,
            refusal,
            known: false,
            open: VecDeque::new(),
            number: 0,
            session: None,
            said_goodbye: false,
            moves: 0,
        }
    }

    /// Passes on what FFmpeg says.
    pub(super) fn requests(&mut self, from: &mut BytesMut, to_camera: &mut BytesMut) -> io::Result<()> {
        while let Some(unit) = message::next(from).map_err(|_malformed| io::ErrorKind::InvalidData)? {
            match unit {
                Unit::Data(data) if self.known => to_camera.extend_from_slice(&data),
                Unit::Data(_) => return Err(io::ErrorKind::PermissionDenied.into()),
                Unit::Message(message) => self.request(message, to_camera)?,
            }
        }
        Ok(())
    }

    fn request(&mut self, mut message: Message, to_camera: &mut BytesMut) -> io::Result<()> {
        let Some((method, uri)) = message.request() else {
            // An answer to something that the camera has asked.
            message.write(to_camera);
            return Ok(());
        };
        let (method, real) = (method.to_owned(), uri.strip_prefix(&self.base));
        self.known |= real.is_some();
        if !self.known {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        if let Some(path) = real {
            message.start = format!("{method} {}{path} RTSP/1.0", self.real);
        }
        self.said_goodbye |= method == "TEARDOWN";
        let theirs = message.header("CSeq").map(str::to_owned);
        message.remove("Authorization");
        self.send(message, theirs, 0, to_camera);
        Ok(())
    }

    fn send(&mut self, request: Message, theirs: Option<String>, tries: u32, to_camera: &mut BytesMut) {
        if self.open.len() >= MOST_OPEN {
            self.open.pop_front();
        }
        self.number += 1;
        let mut sent = request.clone();
        sent.set("CSeq", self.number.to_string());
        let mut tries = tries;
        if let (Some(challenge), Some((user, password)), Some((method, uri))) =
            (&mut self.challenge, &self.credentials, request.request())
        {
            sent.set("Authorization", challenge.answer((user, password), method, uri));
            tries += 1;
        }
        sent.write(to_camera);
        self.open.push_back(Open {
            number: self.number,
            theirs,
            request,
            tries,
        });
    }

    /// Passes on what the camera says.
    pub(super) fn answers(
        &mut self,
        from: &mut BytesMut,
        to_client: &mut BytesMut,
        to_camera: &mut BytesMut,
    ) -> io::Result<()> {
        loop {
            match message::next(from) {
                Ok(None) => return Ok(()),
                Ok(Some(Unit::Data(data))) => to_client.extend_from_slice(&data),
                Ok(Some(Unit::Message(message))) => self.answer(message, to_client, to_camera),
                Err(_) => {
                    self.refuse(CameraError::Malformed);
                    return Err(io::ErrorKind::InvalidData.into());
                }
            }
        }
    }

    fn answer(&mut self, mut message: Message, to_client: &mut BytesMut, to_camera: &mut BytesMut) {
        let Some((status, words)) = message.status() else {
            // Something that the camera asks.
            message.write(to_client);
            return;
        };
        let said = plain(&format!("{status} {words}"), MOST_WORDS);
        let number = message.header("CSeq").and_then(|number| number.parse::<u32>().ok());
        let at = number.and_then(|number| self.open.iter().position(|open| open.number == number));
        let Some(open) = self.open.remove(at.unwrap_or(0)) else {
            return;
        };
        let Some(theirs) = open.theirs.clone() else {
            // To our good-bye.
            return;
        };
        if status == 401 {
            match self.challenged(&message, &open) {
                Ok(()) => {
                    self.send(open.request, open.theirs, open.tries, to_camera);
                    return;
                }
                Err(error) => {
                    self.refuse(error);
                    // FFmpeg would ask again as soon as it sees a question.
                    message.remove("WWW-Authenticate");
                }
            }
        } else if (300..400).contains(&status) {
            let to = message.header("Location").unwrap_or_default();
            if let Some(request) = self.moved(&open.request, to) {
                self.send(request, open.theirs, 0, to_camera);
                return;
            }
            self.refuse(CameraError::Redirect(plain(&without_secrets(to), MOST_WORDS)));
            // FFmpeg would go there.
            "RTSP/1.0 404 Elsewhere".clone_into(&mut message.start);
            message.remove("Location");
        } else if status >= 400 && open.request.start.starts_with("OPTIONS ") {
            // What it understands it shows by its other answers; FFmpeg would give up.
            "RTSP/1.0 200 OK".clone_into(&mut message.start);
        } else if let Some(error) = refused(status, said) {
            self.refuse(error);
        }
        if status == 200 {
            self.learn(&mut message, &open);
        }
        message.set("CSeq", theirs);
        message.write(to_client);
    }

    /// Takes in what the camera wants to know. An error where it can't be told, or was told in vain.
    fn challenged(&mut self, message: &Message, open: &Open) -> Result<(), CameraError> {
        let headers = || message.all("WWW-Authenticate");
        let stale = headers().any(|header| header.to_ascii_lowercase().replace('"', "").contains("stale=true"));
        // What is out of date again is no password that we can give.
        if open.tries >= MOST_TRIES || (open.tries > 0 && !stale) {
            return Err(CameraError::Refused);
        }
        let challenge = auth::choose(headers()).map_err(|wanted| {
            let wanted = plain(&wanted.join(" or "), MOST_WORDS);
            CameraError::Scheme(if wanted.is_empty() {
                "no way that it names".into()
            } else {
                wanted
            })
        })?;
        if self.credentials.is_none() {
            return Err(CameraError::NoPassword);
        }
        self.challenge = Some(challenge);
        Ok(())
    }

    /// A request to where the camera says that its stream is, if that is at itself.
    fn moved(&mut self, request: &Message, to: &str) -> Option<Message> {
        let (method, _) = request.request().filter(|(method, _)| *method == "DESCRIBE")?;
        let path = if to.starts_with('/') {
            to
        } else {
            let (there, here) = (Address::of(to)?, Address::of(&self.real)?);
            let usual = if there.scheme == Protocol::Rtsps.scheme() {
                Protocol::Rtsps
            } else {
                Protocol::Rtsp
            };
            let port = there.port.or(usual.tcp_port());
            let is_same = (there.scheme, there.host, port) == (here.scheme, here.host, here.port);
            is_same.then_some(there.path)?
        };
        self.moves += 1;
        let mut moved = request.clone();
        moved.start = format!("{method} {}{path} RTSP/1.0", self.real);
        (self.moves <= MOST_MOVES).then_some(moved)
    }

    fn learn(&mut self, message: &mut Message, open: &Open) {
        let Some((method, uri)) = open.request.request() else {
            return;
        };
        if method == "DESCRIBE" {
            let base = message.header("Content-Base").map(str::to_owned);
            let is_whole = base.as_ref().is_some_and(|base| base.contains("://"));
            // FFmpeg knows neither whose a path is nor where it was sent on to.
            let is_lost = !is_whole && (base.is_some() || self.moves > 0);
            self.all = match base {
                Some(base) if is_whole => base,
                Some(path) if path.starts_with('/') => format!("{}{path}", self.real),
                Some(_) | None => uri.to_owned(),
            };
            if is_lost {
                message.set("Content-Base", self.all.clone());
            }
        }
        if method != "SETUP" {
            return;
        }
        if let Some(session) = message.header("Session") {
            self.session = Some(session.split(';').next().unwrap_or_default().trim().to_owned());
        }
        // FFmpeg sends its reports to where its connection goes, which is here.
        let transport = message.header("Transport").map(str::to_owned);
        if let Some(transport) = transport
            && transport.contains("client_port")
            && !transport.contains("source=")
        {
            message.set("Transport", format!("{transport};source={}", self.camera));
        }
    }

    /// Tells the camera good-bye, unless FFmpeg has.
    pub(super) fn goodbye(&mut self, to_camera: &mut BytesMut) {
        let Some(id) = self.session.clone().filter(|_| !self.said_goodbye) else {
            return;
        };
        let mut message = Message::new("TEARDOWN", &self.all);
        message.set("Session", id);
        self.said_goodbye = true;
        self.send(message, None, 0, to_camera);
    }

    /// Whether the camera has still to answer to that.
    pub(super) fn waits_for_goodbye(&self) -> bool {
        let is_goodbye = |open: &Open| open.request.start.starts_with("TEARDOWN ");
        self.open.iter().any(is_goodbye)
    }

    fn refuse(&self, error: CameraError) {
        *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }
}

/// What a status means, where it is a refusal that FFmpeg does not mend: it tries another transport by itself after 461.
fn refused(status: u16, said: String) -> Option<CameraError> {
    match status {
        100..400 | 461 => None,
        404 => Some(CameraError::NotFound(said)),
        453 | 503 => Some(CameraError::Busy(said)),
        _ => Some(CameraError::Status(said)),
    }
}
