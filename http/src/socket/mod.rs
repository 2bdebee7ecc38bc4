//! The conversation over a WebSocket: requests, what comes of them, and what happens meanwhile.
//!
//! ```text
//!  peer ──► reader ──► a task for each request ──► outbox ──► writer ──► peer
//!            │ waits while the outbox is full         │
//!            └── and while too many wait for the broker  └ results are left out, progress is dropped, watchers
//!                                                          pause: each before it would grow without bound
//! ```
//!
//! - `message`: what is said. `requests`, `following`: what is done about it. `outbox`: what the peer has not read.

mod following;
mod message;
mod outbox;
mod requests;

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::CapacityError;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::app::App;
use crate::gate::Caller;
use crate::limits::{
    DISCARD_PATIENCE, SOCKET_ASKING_MAX, SOCKET_FOLLOWED_MAX, SOCKET_MESSAGE_MAX, SOCKET_PATIENCE,
    SOCKET_PING, SOCKET_REQUESTS_MAX, SOCKET_UNREAD_MAX,
};
use crate::refusal::Refusal;
use message::{Body, Request, Verb};
use outbox::Outbox;
use requests::Talk;

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// How long the last word may take to leave.
const GOODBYE: Duration = Duration::from_secs(1);

/// Talks with a peer until one of the two ends it.
pub(crate) async fn serve(stream: Upgraded, app: Arc<App>, caller: Caller, place: OwnedSemaphorePermit) {
    let limits = WebSocketConfig::default()
        .max_message_size(Some(SOCKET_MESSAGE_MAX))
        .max_frame_size(Some(SOCKET_MESSAGE_MAX));
    let socket: Socket =
        WebSocketStream::from_raw_socket(TokioIo::new(stream), Role::Server, Some(limits)).await;
    let (mut sink, mut stream) = socket.split();
    let (mut end, counted) = (app.end.clone(), app.metrics.socket());
    let outbox = Arc::new(Outbox::default());
    let talk = Talk {
        app,
        visitor: caller.visitor,
        client: caller.client,
        outbox: outbox.clone(),
        followed: Arc::new(Semaphore::new(SOCKET_FOLLOWED_MAX)),
    };
    let last = {
        let (mut reading, mut writing) =
            (pin!(Session::new(talk).read(&mut stream)), pin!(write(&mut sink, &outbox)));
        tokio::select! {
            last = &mut reading => last,
            () = &mut writing => None,
            () = silence(&outbox) => Some((CloseCode::Policy, "nothing was heard for too long".to_owned())),
            _ = end.wait_for(|ends| *ends) => Some((CloseCode::Away, "the broker is going down".to_owned())),
        }
    };
    if let Some((code, reason)) = last {
        let frame = CloseFrame { code, reason: reason.into() };
        let is_said = timeout(GOODBYE, sink.send(Message::Close(Some(frame)))).await;
        if matches!(is_said, Ok(Ok(()))) && code != CloseCode::Away {
            tokio::select! {
                () = linger(sink, stream) => {}
                _ = end.wait_for(|ends| *ends) => {}
            }
        }
    }
    drop((place, counted));
}

/// Throws away for a while what the peer goes on saying. What arrives at a closed socket resets the connection, and
/// a reset takes the last word along.
async fn linger(sink: SplitSink<Socket, Message>, stream: SplitStream<Socket>) {
    let Ok(socket) = sink.reunite(stream) else { return };
    let (mut raw, mut nowhere) = (socket.into_inner(), tokio::io::sink());
    let _ = timeout(DISCARD_PATIENCE, tokio::io::copy(&mut raw, &mut nowhere)).await;
}

/// Why a conversation ends, if the peer is to be told.
type LastWord = Option<(CloseCode, String)>;

/// One conversation.
struct Session {
    talk: Talk,
    /// Room for requests that wait for the broker's first word.
    asking: Arc<Semaphore>,
    requests: JoinSet<u64>,
    /// Those that go on.
    open: HashMap<u64, AbortHandle>,
}

impl Session {
    fn new(talk: Talk) -> Self {
        let asking = Arc::new(Semaphore::new(SOCKET_ASKING_MAX));
        Self { talk, asking, requests: JoinSet::new(), open: HashMap::new() }
    }

    /// Reads what the peer says, at the pace at which it reads what it is told.
    async fn read(mut self, stream: &mut SplitStream<Socket>) -> LastWord {
        let (outbox, asking) = (self.talk.outbox.clone(), self.asking.clone());
        loop {
            let next = async {
                outbox.room(SOCKET_UNREAD_MAX).await;
                // A closed semaphore there is not: nobody closes it.
                let place = asking.clone().acquire_owned().await.ok();
                (place, stream.next().await)
            };
            let (place, message) = tokio::select! {
                next = next => next,
                Some(ended) = self.requests.join_next() => {
                    if let Ok(req) = ended {
                        self.open.remove(&req);
                    }
                    continue;
                }
            };
            outbox.alive();
            match message {
                Some(Ok(Message::Text(text))) => self.take(&text, place),
                Some(Ok(Message::Binary(_))) => {
                    self.refuse(None, &Refusal::wrong_type("say it in JSON, as text"));
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                // The library answers a goodbye by itself.
                Some(Ok(Message::Close(_))) | None => return None,
                Some(Err(error)) => return last_word(&error),
            }
        }
    }

    fn take(&mut self, text: &str, place: Option<OwnedSemaphorePermit>) {
        let request: Request = match serde_json::from_str(text) {
            Ok(request) => request,
            Err(error) => return self.refuse(message::number(text), &message::unreadable(&error)),
        };
        let req = request.req;
        let ControlFlow::Continue(request) = self.check(request) else { return };
        let talk = self.talk.clone();
        let task = self.requests.spawn(async move {
            let (req, place) = (request.req, place);
            if let Err(refusal) = talk.carry_out(request, place).await {
                talk.outbox.say(req, &Body::Error { id: None, problem: refusal.problem() });
            }
            req
        });
        self.open.insert(req, task);
    }

    /// Deals at once with what needs nothing but a look.
    fn check(&mut self, request: Request) -> ControlFlow<(), Request> {
        let req = request.req;
        let refusal = match request.check() {
            Err(refusal) => refusal,
            Ok(()) if self.open.contains_key(&req) => {
                Refusal::bad_message(format!("req: the request {req} goes on; take another number"))
            }
            Ok(()) if self.open.len() >= SOCKET_REQUESTS_MAX => {
                Refusal::busy(format!("{SOCKET_REQUESTS_MAX} requests go on already"))
            }
            Ok(()) if request.verb != Verb::Stop => return ControlFlow::Continue(request),
            Ok(()) => match request.of.and_then(|of| self.open.remove(&of)) {
                Some(going) => {
                    going.abort();
                    self.talk.outbox.say(req, &Body::Done { refused: Vec::new() });
                    return ControlFlow::Break(());
                }
                None => Refusal::not_found("of: there is no such request, or it has ended"),
            },
        };
        self.refuse(Some(req), &refusal);
        ControlFlow::Break(())
    }

    fn refuse(&self, req: Option<u64>, refusal: &Refusal) {
        self.talk.outbox.say(req, &Body::Error { id: None, problem: refusal.problem() });
    }
}

fn last_word(error: &Error) -> LastWord {
    match error {
        Error::Capacity(CapacityError::MessageTooLong { max_size, .. }) => {
            Some((CloseCode::Size, format!("a message of more than {max_size} bytes")))
        }
        Error::Protocol(error) => Some((CloseCode::Protocol, error.to_string())),
        Error::Utf8(_) => Some((CloseCode::Invalid, "a text that is no UTF-8".to_owned())),
        _ => None,
    }
}

/// Sends what is to be said, and pings, until the connection breaks.
async fn write(sink: &mut SplitSink<Socket, Message>, outbox: &Outbox) {
    loop {
        let sent = match timeout(SOCKET_PING, outbox.next()).await {
            Ok(text) => send(sink, outbox, text).await,
            Err(_) => sink.send(Message::Ping(Default::default())).await,
        };
        if sent.is_err() {
            return;
        }
    }
}

/// Sends what is there, in one go.
async fn send(sink: &mut SplitSink<Socket, Message>, outbox: &Outbox, first: String) -> Result<(), Error> {
    let mut text = first;
    loop {
        let bytes = text.len();
        sink.feed(Message::text(text)).await?;
        let next = outbox.try_next();
        if next.is_none() {
            sink.flush().await?;
        }
        outbox.read(bytes);
        match next {
            Some(next) => text = next,
            None => return Ok(()),
        }
    }
}

/// Waits until the peer has neither said nor taken anything for too long.
async fn silence(outbox: &Outbox) {
    loop {
        match SOCKET_PATIENCE.checked_sub(outbox.silent_for()) {
            Some(left) if !left.is_zero() => tokio::time::sleep(left).await,
            _ => return,
        }
    }
}
