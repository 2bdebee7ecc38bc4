//! What is said over a WebSocket.

use ganger_common::message::Durability;
use ganger_common::{Attempt, TaskId};
use serde::{Deserialize, Serialize};

use crate::feed;
use crate::model::{AcceptedItem, Batch, Ended, Problem, RefusedItem, Shown, TOO_MANY, Task};
use crate::refusal::Refusal;

/// What a peer says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    /// A number of the peer's own, under which it hears of it.
    pub(super) req: u64,
    #[serde(rename = "do")]
    pub(super) verb: Verb,
    /// What to hand in.
    pub(super) tasks: Option<Batch<Task>>,
    /// What to tell of it.
    pub(super) follow: Option<Follow>,
    /// Which tasks.
    pub(super) ids: Option<Batch<TaskId>>,
    /// Which types of events.
    pub(super) types: Option<Vec<String>>,
    /// Of which kinds of tasks.
    pub(super) kinds: Option<Vec<String>>,
    /// Of which topics of knowledge.
    pub(super) topics: Option<Vec<String>>,
    /// After which event.
    pub(super) after: Option<u64>,
    /// Which request.
    pub(super) of: Option<u64>,
}

/// What to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verb {
    /// Hand in tasks.
    Submit,
    /// Cancel tasks.
    Cancel,
    /// Tell what tasks say, and how they end.
    Follow,
    /// Tell what happens.
    Watch,
    /// Do not go on with an earlier request.
    Stop,
}

/// What to tell of tasks that are handed in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Follow {
    /// That they were taken, and no more.
    Nothing,
    /// How they end.
    #[default]
    Outcomes,
    /// What they say before, too.
    All,
}

impl Request {
    /// Whether all that is there belongs there.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        use Verb::{Cancel, Follow, Stop, Submit, Watch};
        let fields: [(&str, bool, &[Verb]); 8] = [
            ("tasks", self.tasks.is_some(), &[Submit]),
            ("follow", self.follow.is_some(), &[Submit]),
            ("ids", self.ids.is_some(), &[Cancel, Follow]),
            ("types", self.types.is_some(), &[Watch]),
            ("kinds", self.kinds.is_some(), &[Watch]),
            ("topics", self.topics.is_some(), &[Watch]),
            ("after", self.after.is_some(), &[Watch]),
            ("of", self.of.is_some(), &[Stop]),
        ];
        let needed = |name: &str| matches!(name, "tasks" | "ids" | "of");
        for (name, is_there, with) in fields {
            if is_there && !with.contains(&self.verb) {
                return Err(Refusal::bad_message(format!("{name} has no place here")));
            }
            if !is_there && needed(name) && with.contains(&self.verb) {
                return Err(Refusal::bad_message(format!("{name} must be there")));
            }
        }
        Ok(())
    }
}

/// The number of a request that cannot be read, if that much can.
pub(super) fn number(text: &str) -> Option<u64> {
    #[derive(Deserialize)]
    struct Numbered {
        req: u64,
    }
    serde_json::from_str::<Numbered>(text).ok().map(|it| it.req)
}

pub(super) fn unreadable(error: &serde_json::Error) -> Refusal {
    let text = error.to_string();
    match text.contains(TOO_MANY) {
        true => Refusal::too_many(text),
        false => Refusal::bad_message(format!("this is no JSON of this shape: {text}")),
    }
}

/// What the gateway says, and about which request.
#[derive(Debug, Serialize)]
pub(super) struct Said<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) req: Option<u64>,
    #[serde(flatten)]
    pub(super) body: &'a Body,
}

/// What the gateway says.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Body {
    /// Tasks were taken.
    Accepted {
        durability: Durability,
        accepted: usize,
        tasks: Vec<AcceptedItem>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        refused: Vec<RefusedItem>,
    },
    /// A task says how far it is.
    Progress {
        id: TaskId,
        attempt: Attempt,
        #[serde(skip_serializing_if = "Option::is_none")]
        fraction: Option<f32>,
        text: String,
    },
    /// A task gives a part of its result.
    Partial {
        id: TaskId,
        attempt: Attempt,
        index: u64,
        #[serde(flatten)]
        data: Shown,
    },
    /// A task has its outcome.
    Ended {
        id: TaskId,
        #[serde(flatten)]
        ended: Ended,
    },
    /// Where watching begins.
    Watching { oldest: u64, newest: u64 },
    /// Something happened.
    Event { event: feed::Event },
    /// Something was not told: of a task what it said, or else what happened.
    Missed {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<TaskId>,
        #[serde(skip_serializing_if = "Option::is_none")]
        count: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        oldest: Option<u64>,
    },
    /// The request is over.
    Done {
        #[serde(skip_serializing_if = "Vec::is_empty")]
        refused: Vec<RefusedItem>,
    },
    /// The request was not carried out and is over; with an id, one of its tasks is.
    Error {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<TaskId>,
        #[serde(flatten)]
        problem: Problem,
    },
}

impl Body {
    /// Something that happened.
    pub(super) fn told(told: feed::Told) -> Self {
        match told {
            feed::Told::Event(event) => Self::Event { event },
            feed::Told::Missed(missed) => {
                Self::Missed { id: None, count: missed.count, oldest: Some(missed.oldest) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(), Refusal> {
        serde_json::from_str::<Request>(text).map_err(|error| unreadable(&error))?.check()
    }

    #[test]
    fn every_verb_takes_its_own_fields_and_no_others() {
        let id = "\"0197a0b2-9d2c-7cc1-8f5a-2f6d1f0a9b77\"";
        for good in [
            r#"{"req":1,"do":"submit","tasks":[{"kind":"a"}],"follow":"all"}"#.to_owned(),
            format!(r#"{{"req":1,"do":"cancel","ids":[{id}]}}"#),
            r#"{"req":1,"do":"watch","types":["tasks"],"kinds":["a"],"topics":[],"after":7}"#.to_owned(),
            r#"{"req":1,"do":"stop","of":7}"#.to_owned(),
        ] {
            read(&good).unwrap();
        }
        for bad in [
            "[]",
            r#"{"do":"watch"}"#,
            r#"{"req":1,"do":"dance"}"#,
            r#"{"req":1,"do":"submit"}"#,
            r#"{"req":1,"do":"stop"}"#,
            r#"{"req":1,"do":"watch","of":1}"#,
            r#"{"req":1,"do":"watch","folow":1}"#,
        ] {
            assert_eq!(read(bad).unwrap_err().code, "bad_message", "{bad}");
        }
        assert_eq!((number(r#"{"req":7,"do":"dance"}"#), number("7")), (Some(7), None));
    }
}
