//! Everything that may be said between a broker, its clients and its workers.
//!
//! Four directions over DEALER and ROUTER ([`FromClient`], [`ToClient`], [`FromWorker`], [`ToWorker`]),
//! one message a frame, one frame a ZeroMQ message; and what goes out on PUB ([`publish`]).

mod client;
mod knowledge;
pub mod publish;
mod shared;
mod worker;

pub use client::*;
pub use knowledge::*;
pub use shared::*;
pub use worker::*;

use crate::codec::messages;
use crate::view;

messages! {
    /// What a client says to the broker.
    pub enum FromClient<'a> {
        /// Opens a session; must be the first message of a connection.
        "hello" => Hello(ClientHello<'a>),
        /// Says that the client lives, and what it has read.
        "heartbeat" => Heartbeat(ClientHeartbeat),
        /// Hands in a batch of tasks; answered by `accepted`.
        "submit" => Submit(Submit<'a>),
        /// Asks for the outcomes of tasks; answered by `verdicts`, then `outcomes`.
        "watch" => Watch(Watch),
        /// Confirms outcomes, which opens the window for more.
        "ack" => Ack(Ack),
        /// Cancels tasks; answered by `verdicts`.
        "cancel" => Cancel(TaskList),
        /// Puts failed or dead tasks back into their queues; answered by `verdicts`.
        "retry" => Retry(TaskList),
        /// Lets failed and dead tasks go, for good; answered by `discarded`.
        "discard" => Discard(Discard<'a>),
        /// Gives out no more tasks of a kind until it is resumed; answered by `done`.
        "pause" => Pause(OneKind<'a>),
        /// Gives out the tasks of a paused kind again; answered by `done`.
        "resume" => Resume(OneKind<'a>),
        /// Asks for one task with its result; answered by `task`.
        "fetch" => Fetch(OneTask),
        /// Asks for the payload of one task; answered by `payload`.
        "payload" => Payload(OneTask),
        /// Asks why a task is where it is; answered by `explanation`.
        "explain" => Explain(OneTask),
        /// Lists tasks; answered by `tasks`.
        "list" => List(ListTasks<'a>),
        /// Lists workers; answered by `workers`.
        "list_workers" => ListWorkers(Page<'a>),
        /// Asks for the broker's figures; answered by `status`.
        "status" => Status(Request),
        /// Drains workers, or the broker itself; answered by `verdicts`.
        "drain" => Drain(Drain<'a>),
        /// Reads or changes knowledge.
        "knowledge" => Knowledge(KnowledgeRequest<'a>),
        /// Sends a broadcast on the knowledge socket; answered by `done`.
        "publish" => Publish(PublishRequest<'a>),
        /// Closes the session. Its tasks go on.
        "goodbye" => Goodbye(Goodbye<'a>),
    }
    direct "submit" => Submit
}

messages! {
    /// What the broker says to a client.
    pub enum ToClient<'a> {
        /// The session is open.
        "welcome" => Welcome(Welcome<'a>),
        /// The answer to a heartbeat.
        "heartbeat" => Heartbeat(BrokerHeartbeat),
        /// The verdict on one `submit`.
        "accepted" => Accepted(Accepted<'a>),
        /// Final outcomes of tasks.
        "outcomes" => Outcomes(Outcomes<'a>),
        /// A running task tells how far it is.
        "progress" => Progress(TaskProgress<'a>),
        /// A running task hands out a part of its result.
        "partial" => Partial(TaskPartial<'a>),
        /// One verdict for each task or worker of a request.
        "verdicts" => Verdicts(Verdicts<'a>),
        /// What a `discard` let go.
        "discarded" => Discarded(Discarded<'a>),
        /// One task with its result.
        "task" => Task(TaskReply<'a>),
        /// The payload of one task.
        "payload" => Payload(PayloadReply<'a>),
        /// A page of tasks.
        "tasks" => Tasks(Rows<view::TaskView>),
        /// Why a task is where it is.
        "explanation" => Explanation(Body<view::Explanation>),
        /// A page of workers.
        "workers" => Workers(Rows<view::WorkerView>),
        /// The broker's figures.
        "status" => Status(Body<view::StatusView>),
        /// The answer to a knowledge request.
        "knowledge" => Knowledge(KnowledgeReply<'a>),
        /// The request was carried out and there is nothing to tell.
        "done" => Done(Request),
        /// A request, or a message, was refused.
        "error" => Error(ErrorReply<'a>),
        /// The broker closes the session, and says why.
        "goodbye" => Goodbye(Goodbye<'a>),
    }
    direct "outcomes" => Outcomes
}

messages! {
    /// What a worker says to the broker.
    pub enum FromWorker<'a> {
        /// Opens or resumes a session; must be the first message of a connection.
        "hello" => Hello(WorkerHello<'a>),
        /// Says that the worker lives, what it has read, and what it knows.
        "heartbeat" => Heartbeat(WorkerHeartbeat),
        /// Starts and ends of attempts; answered by `ack`.
        "report" => Report(Report<'a>),
        /// A running attempt tells how far it is.
        "progress" => Progress(AttemptProgress<'a>),
        /// A running attempt hands out a part of its result.
        "partial" => Partial(AttemptPartial<'a>),
        /// The worker takes nothing more and leaves when it is empty.
        "drain" => Drain(WorkerDrain),
        /// Reads or changes knowledge.
        "knowledge" => Knowledge(KnowledgeRequest<'a>),
        /// Closes the session: whatever is still leased here goes back at once.
        "goodbye" => Goodbye(Goodbye<'a>),
    }
    direct "report" => Report
}

messages! {
    /// What the broker says to a worker.
    pub enum ToWorker<'a> {
        /// The session is open.
        "welcome" => Welcome(Welcome<'a>),
        /// The answer to a heartbeat.
        "heartbeat" => Heartbeat(BrokerHeartbeat),
        /// Tasks to run, in this order.
        "tasks" => Tasks(Dispatch<'a>),
        /// The start of these attempts is on record: run them now.
        "start" => Start(Leases),
        /// Hand back what has not started, newest first; answered in a `report`.
        "recall" => Recall(Recall),
        /// Stop these attempts; their results are no longer wanted.
        "cancel" => Cancel(CancelLeases),
        /// These reports are on record and may be forgotten.
        "ack" => Ack(ReportAck),
        /// Finish or hand back what you hold, then say goodbye.
        "drain" => Drain(WorkerDrain),
        /// The answer to a knowledge request.
        "knowledge" => Knowledge(KnowledgeReply<'a>),
        /// A request, or a message, was refused.
        "error" => Error(ErrorReply<'a>),
        /// The broker closes the session, and says why.
        "goodbye" => Goodbye(Goodbye<'a>),
    }
    direct "tasks" => Tasks
}
