//! What a program makes of what its session tells it.

use ganger_client::Error;
use ganger_client::session::Token;
use ganger_client::session::request::{Answer, Reply};
use ganger_common::{ErrorCode, Outcome, TaskId};

use super::client::{Book, Wait};
use super::log::{ClientNo, Digest, Event};
use super::world::World;

impl World {
    pub(super) fn on_settled(&mut self, no: ClientNo, token: Token, outcome: &ganger_client::TaskOutcome) {
        let Some(wait) = self.client_mut(no).waits.remove(&token) else {
            return self.defect("an outcome for nobody");
        };
        let task = match wait {
            Wait::Submit { task, .. } | Wait::Watch { task } => task,
            _ => return self.defect("an outcome for somebody who asked something else"),
        };
        if task != outcome.id {
            return self.defect("an outcome of another task");
        }
        let is_failed = matches!(outcome.outcome, Outcome::Failed | Outcome::Dead);
        let it = self.client_mut(no);
        it.books.entry(task).and_modify(|book| *book = if is_failed { Book::Failed } else { Book::Over });
        self.note(Event::OutcomeHeard {
            client: no,
            task,
            outcome: outcome.outcome,
            attempt: outcome.attempt,
            result: Digest::of(&outcome.result),
            dropped: outcome.result_dropped,
        });
    }

    pub(super) fn on_failed(&mut self, no: ClientNo, token: Token, task: TaskId, error: &Error) {
        let Some(wait) = self.client_mut(no).waits.remove(&token) else {
            return self.defect("a failure for nobody");
        };
        let code = match error {
            Error::Refused { code, .. } => Some(*code),
            Error::Forgotten => None,
            // The acceptance of a detached task is all that there is to wait for.
            Error::Detached => return self.close_book(no, task, Book::Over),
            other => {
                let text = format!("a wait for a task failed: {other}");
                return self.defect(&text);
            }
        };
        match wait {
            Wait::Submit { acknowledged: false, .. } if code.is_some() => {
                let code = code.unwrap_or(ErrorCode::Unknown);
                self.note(Event::Refused { client: no, task, code });
                self.close_book(no, task, Book::Over);
            }
            Wait::Submit { .. } | Wait::Watch { .. } => {
                self.note(Event::WaitFailed { client: no, task, code });
                // A program that is told so hands the task in again, if it is its own.
                let is_own = self.client(no).books.contains_key(&task);
                match is_own && self.allows_resubmission() {
                    true => self.submit_task(no, task),
                    false => self.close_book(no, task, Book::Over),
                }
            }
            _ => self.defect("a failure for somebody who asked something else"),
        }
    }

    fn close_book(&mut self, no: ClientNo, task: TaskId, as_: Book) {
        self.client_mut(no).books.entry(task).and_modify(|book| *book = as_);
    }

    pub(super) fn on_answer(&mut self, no: ClientNo, token: Token, result: Result<Answer, Error>) {
        let Some(wait) = self.client_mut(no).waits.remove(&token) else {
            return self.defect("an answer for nobody");
        };
        match wait {
            Wait::Cancel { ask, tasks } => self.on_verdicts(no, ask, tasks, true, &result),
            Wait::Retry { ask, tasks } => self.on_verdicts(no, ask, tasks, false, &result),
            Wait::Discard { ask, tasks } => self.on_discarded(no, ask, &tasks, result),
            Wait::Kind { ask } => self.note(match result {
                Ok(Answer::Done) => Event::KindAnswered { client: no, ask, code: None },
                Err(Error::Refused { code, .. }) => Event::KindAnswered { client: no, ask, code: Some(code) },
                _ => Event::KindUnknown { client: no, ask },
            }),
            Wait::Knowledge { ask } => {
                let event = match result {
                    Ok(Answer::Knowledge(Reply::Written(revision))) => {
                        self.acknowledged_revision = self.acknowledged_revision.max(revision.0);
                        Event::KnowledgeAcknowledged { client: no, ask, revision }
                    }
                    Err(Error::Refused { code, .. }) => Event::KnowledgeRefused { client: no, ask, code },
                    _ => Event::KnowledgeUnknown { client: no, ask },
                };
                self.note(event);
            }
            Wait::Audit { task } => {
                self.on_audit(task, result);
                self.ask_on();
            }
            Wait::AuditMap => {
                self.on_audit_map(result);
                self.ask_on();
            }
            Wait::Any => {}
            Wait::Submit { .. } | Wait::Watch { .. } => {
                self.defect("an answer for somebody who waits for a task");
            }
        }
    }

    fn on_discarded(&mut self, client: ClientNo, ask: u64, tasks: &[TaskId], result: Result<Answer, Error>) {
        let Ok(Answer::Discarded { count, refused, .. }) = result else {
            return self.note(Event::DiscardUnknown { client, ask });
        };
        let named: Vec<_> =
            refused.iter().filter_map(|one| Some((*tasks.get(one.index)?, one.code))).collect();
        let gone = tasks.iter().filter(|task| named.iter().all(|(refused, _)| refused != *task));
        for task in gone {
            self.close_book(client, *task, Book::Over);
        }
        self.note(Event::DiscardAnswered { client, ask, count, refused: named });
    }

    fn on_verdicts(
        &mut self,
        no: ClientNo,
        ask: u64,
        tasks: Vec<TaskId>,
        cancels: bool,
        result: &Result<Answer, Error>,
    ) {
        for (index, task) in tasks.into_iter().enumerate() {
            let code = match result {
                Ok(Answer::Verdicts(refused)) => {
                    Ok(refused.iter().find(|refused| refused.index == index).map(|refused| refused.code))
                }
                Err(Error::Refused { code, .. }) => Ok(Some(*code)),
                _ => Err(()),
            };
            self.note(match (cancels, code) {
                (true, Ok(None)) => Event::CancelAcknowledged { client: no, ask, task },
                (true, Ok(Some(code))) => Event::CancelRefused { client: no, ask, task, code },
                (true, Err(())) => Event::CancelUnknown { client: no, ask, task },
                (false, Ok(None)) => Event::RetryAcknowledged { client: no, ask, task },
                (false, Ok(Some(code))) => Event::RetryRefused { client: no, ask, task, code },
                (false, Err(())) => Event::RetryUnknown { client: no, ask, task },
            });
            let retried = !cancels && !matches!(code, Ok(Some(_)));
            if retried && self.client(no).is_up() {
                self.close_book(no, task, Book::Acknowledged);
                self.watch_tasks(no, vec![task]);
            }
        }
    }
}
