//! What goes into a session and what comes out.

use std::time::{Duration, Instant};

use bytes::Bytes;
use ganger_common::message::Durability;
use ganger_common::{Attempt, Epoch, ErrorCode, Revision, TaskId};

use super::request::{Answer, Request};
use crate::error::{Error, Result};
use crate::task::{NewTask, TaskOutcome};

/// Whoever waits, named by the shell. The session only hands it back.
pub type Token = u64;

/// Something that happened.
#[derive(Debug)]
pub enum Input {
    /// The connection that [`Effect::Connect`] asked for is there.
    Connected,
    /// It could not be made.
    ConnectFailed {
        /// Why, for people.
        reason: String,
    },
    /// It broke.
    Lost {
        /// Why, for people.
        reason: String,
    },
    /// A message came on it.
    Received(Bytes),
    /// Tasks to hand in. What does not fit the window is refused: wait for [`Effect::Room`].
    Submit(Vec<Submission>),
    /// Outcomes to wait for, of tasks that somebody handed in some time.
    Watch {
        /// Who waits for which task.
        tasks: Vec<(Token, TaskId)>,
        /// Progress and partial results, too.
        events: bool,
    },
    /// A question.
    Ask {
        /// Who asks.
        token: Token,
        /// What.
        request: Request,
    },
    /// Say goodbye and end.
    Close,
}

/// One task to hand in.
#[derive(Debug)]
pub struct Submission {
    /// Who waits.
    pub token: Token,
    /// The name of the task.
    pub id: TaskId,
    /// The task; an id in it is ignored.
    pub task: NewTask,
}

/// Something to do. Effects are to be carried out in their order.
#[derive(Debug)]
pub enum Effect {
    /// Make a connection, and say how that went.
    Connect,
    /// Send a message on it. If the transport does not take it, say [`Input::Lost`].
    Send(Bytes),
    /// Let what was sent leave, and close it. Nothing that comes of it later is to be handed in.
    Disconnect,
    /// The broker has opened the session.
    Opened(Broker),
    /// There is no connection.
    Down {
        /// Why, for people.
        reason: String,
        /// When the next will be tried.
        retry_at: Instant,
    },
    /// The session is over for good.
    Ended(Error),
    /// Tasks were acknowledged.
    Accepted {
        /// Who waits.
        tokens: Vec<Token>,
        /// How far the promise reaches.
        durability: Durability,
    },
    /// Tasks have their outcomes. The last word on these tokens.
    Settled(Vec<Settled>),
    /// No outcome will come. The last word on this token.
    Failed {
        /// Who waits.
        token: Token,
        /// The task.
        task: TaskId,
        /// Why.
        error: Error,
    },
    /// A running task says something.
    Event {
        /// The task.
        task: TaskId,
        /// What it says.
        event: TaskEvent,
    },
    /// An answer. The last word on this question.
    Answer {
        /// Who asked.
        token: Token,
        /// The answer.
        result: Result<Answer>,
    },
    /// This much has left the window.
    Room {
        /// Tasks.
        tasks: usize,
        /// Their size, as the window counts it.
        units: usize,
    },
    /// The broker complains about something that belongs to no request; for logs.
    Notice {
        /// What, for programs.
        code: ErrorCode,
        /// What, for people.
        text: String,
    },
}

/// One outcome for one who waits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settled {
    /// Who waits.
    pub token: Token,
    /// The outcome.
    pub outcome: TaskOutcome,
}

/// What a running task says before it ends.
#[derive(Clone, PartialEq, Debug)]
pub enum TaskEvent {
    /// How far it is.
    Progress {
        /// The attempt that says so.
        attempt: Attempt,
        /// From 0 to 1, if the handler knows.
        fraction: Option<f32>,
        /// What to tell a person.
        text: String,
    },
    /// A part of its result.
    Partial {
        /// The attempt that says so: a newer one begins anew.
        attempt: Attempt,
        /// The number of the part within its attempt; a gap shows parts that were dropped.
        index: u64,
        /// The bytes.
        data: Bytes,
    },
}

/// What the broker told when it opened the session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Broker {
    /// Program and version.
    pub name: String,
    /// The life of its state.
    pub epoch: Epoch,
    /// How far its acknowledgements reach.
    pub durability: Durability,
    /// How often to say that one lives.
    pub heartbeat: Duration,
    /// After how many of these silence is death.
    pub liveness: u32,
    /// Largest payload that it takes.
    pub payload_bytes_max: usize,
    /// Most items in one batch.
    pub batch_items_max: usize,
    /// The newest knowledge revision when the session was opened.
    pub revision: Revision,
    /// Port of its publications, 0 when it does not say.
    pub knowledge_port: u16,
}
