//! The shell around the scheduler: what a broker does between its sockets.

use std::future::{Future, ready};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use ganger_broker::journal::MemoryJournal;
use ganger_broker::sans_io::{Clock, Shell, Side, Sockets};
use ganger_common::message::{ToClient, ToWorker};
use ganger_common::{ConnId, decode};
use ganger_scheduler::{Config, Now, Scheduler, Time, Wall};
use ganger_transport::{
    DownReason, Endpoint, PeerMeta, PublishError, Publisher, SendError, Server, ServerEvent,
};

use super::{Frames, TURN_US, WORKERS};

const CLIENT: ConnId = ConnId(1);

/// What the shell has sent and nobody has read yet.
type Sent = Arc<Mutex<Vec<(ConnId, Bytes)>>>;

/// A socket that leads nowhere.
struct Ear {
    sent: Sent,
    endpoint: Endpoint,
}

impl Ear {
    fn new(sent: &Sent) -> Self {
        Self { sent: sent.clone(), endpoint: Endpoint::Mem { name: "exchange".to_owned() } }
    }
}

impl Server for Ear {
    fn recv(&mut self, _into: &mut Vec<ServerEvent>, _max: usize) -> impl Future<Output = usize> + Send {
        // Events are handed to the shell directly.
        std::future::pending()
    }

    fn try_send(&self, to: ConnId, body: Bytes) -> Result<(), SendError> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).push((to, body));
        Ok(())
    }

    fn kick(&self, _conn: ConnId, _reason: DownReason) {}

    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn shutdown(self, _grace: Duration) -> impl Future<Output = ()> + Send {
        ready(())
    }
}

impl Publisher for Ear {
    fn publish(&self, _parts: [Bytes; 3]) -> Result<(), PublishError> {
        Ok(())
    }

    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn shutdown(self, _grace: Duration) -> impl Future<Output = ()> + Send {
        ready(())
    }
}

/// A broker without sockets, in memory mode, with one client and [`WORKERS`] workers.
pub struct ShellExchange {
    shell: Shell<Ear, Ear, MemoryJournal>,
    sent: Sent,
    frames: Frames,
    now: Now,
    settled: u64,
}

impl ShellExchange {
    /// Ready for the first batch.
    ///
    /// # Panics
    /// When the shell fails, which one without a disk does not.
    pub fn new() -> Self {
        let now = Now { time: Time(0), wall: Wall(1_770_000_000_000) };
        let sent = Sent::default();
        let sockets =
            Sockets { clients: Ear::new(&sent), workers: Ear::new(&sent), knowledge: Ear::new(&sent) };
        let scheduler = Scheduler::new(Config::default(), now);
        let shell = Shell::around(Clock::ByHand(now), scheduler, sockets, MemoryJournal::default());
        let mut exchange = Self { shell, sent, frames: Frames::default(), now, settled: 0 };
        exchange.carry_out();
        exchange.join(CLIENT, Frames::client_hello());
        for number in 0..WORKERS {
            exchange.join(ConnId(CLIENT.0 + 1 + number as u64), Frames::worker_hello(number));
        }
        exchange.carry_out();
        exchange
    }

    /// Takes a batch from its submission to the acknowledged outcomes.
    ///
    /// # Panics
    /// See [`new`](Self::new).
    pub fn turn(&mut self, tasks: usize) {
        self.now.time = Time(self.now.time.0 + TURN_US);
        self.shell.set_now(self.now);
        let frame = self.frames.submit(tasks);
        self.hear(CLIENT, frame);
        self.carry_out();
        if self.shell.late_by().is_some() {
            self.shell.handle_timeout();
            self.carry_out();
        }
    }

    /// Tasks whose outcome the client has heard.
    pub fn settled(&self) -> u64 {
        self.settled
    }

    fn join(&mut self, conn: ConnId, hello: Bytes) {
        let up = ServerEvent::Up { conn, peer: PeerMeta::default() };
        self.shell.on_event(self.now, side(conn), up);
        self.hear(conn, hello);
    }

    fn hear(&mut self, conn: ConnId, body: Bytes) {
        self.shell.on_event(self.now, side(conn), ServerEvent::Message { conn, body });
    }

    /// Until nobody has anything left to say.
    fn carry_out(&mut self) {
        loop {
            self.shell.carry_out().expect("a shell without a disk does not fail");
            let sent = std::mem::take(&mut *self.sent.lock().unwrap_or_else(PoisonError::into_inner));
            if sent.is_empty() {
                return;
            }
            for (conn, body) in sent {
                if let Some(answer) = self.answer(conn, &body) {
                    self.hear(conn, answer);
                }
            }
        }
    }

    /// What a peer answers. The peers read what they must, and no more: their work is not what is measured.
    fn answer(&mut self, conn: ConnId, body: &[u8]) -> Option<Bytes> {
        match side(conn) {
            Side::Client => match decode::<ToClient<'_>>(body).ok()? {
                ToClient::Outcomes(outcomes) => {
                    self.settled += outcomes.items.len() as u64;
                    Some(Frames::ack(outcomes.upto))
                }
                _ => None,
            },
            Side::Worker => match decode::<ToWorker<'_>>(body).ok()? {
                ToWorker::Tasks(tasks) => Some(self.frames.report(&tasks)),
                _ => None,
            },
        }
    }
}

impl Default for ShellExchange {
    fn default() -> Self {
        Self::new()
    }
}

fn side(conn: ConnId) -> Side {
    if conn == CLIENT { Side::Client } else { Side::Worker }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::BATCH;

    #[test]
    fn every_task_of_every_turn_is_settled_in_it() {
        let mut exchange = ShellExchange::new();
        for turn in 1..=20 {
            exchange.turn(BATCH);
            assert_eq!(exchange.settled(), turn * BATCH as u64);
        }
    }
}
