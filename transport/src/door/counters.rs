//! Why the door turns somebody away, counted.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! breaches {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal;)+) => {
        /// Why a connection was refused or cut.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Breach {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Breach {
            /// Every reason.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The name of its counter.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }
        }
    };
}

breaches! {
    /// There are as many connections as there may be.
    TooMany = "too_many_connections";
    /// There are as many from that address as there may be.
    TooManyFromAddress = "too_many_from_address";
    /// There are as many of that key as there may be.
    TooManyOfKey = "too_many_of_key";
    /// New connections come faster from that address than they may.
    Rate = "connection_rate";
    /// It did not finish its handshake, and others wanted its place.
    Crowded = "handshake_crowded_out";
    /// It did not finish its handshake in time.
    Slow = "handshake_timeout";
    /// It went away before its handshake was finished.
    Gone = "handshake_abandoned";
    /// It does not speak ZMTP.
    NotZmtp = "not_zmtp";
    /// It speaks a ZMTP before 3.0, which has no security.
    OldZmtp = "old_zmtp";
    /// It asks for another security mechanism.
    Mechanism = "wrong_mechanism";
    /// Its READY is malformed or too long.
    Ready = "bad_ready";
    /// Its socket is of a type that has no business here.
    SocketType = "wrong_socket_type";
    /// Its CURVE handshake is malformed, replayed, or made for another server.
    Curve = "bad_curve";
    /// Its key is not listed, or gives no right here.
    Key = "key_not_allowed";
    /// Its key was taken off the list while it was connected.
    Revoked = "key_revoked";
    /// A frame is malformed.
    Frame = "bad_frame";
    /// A frame or message is over the limit.
    TooLarge = "message_too_large";
    /// A message has more parts than it may.
    Parts = "too_many_parts";
    /// A large message comes so slowly that it keeps others waiting.
    SlowSender = "slow_sender";
    /// It does not read what it is sent.
    SlowReader = "slow_reader";
    /// More topics, or longer ones, than it may subscribe to.
    Subscriptions = "too_many_subscriptions";
    /// A topic that its key does not give it.
    Topic = "topic_not_allowed";
}

/// What has happened at a door since it was put up.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) accepted: AtomicU64,
    pub(super) admitted: AtomicU64,
    pub(super) closed: AtomicU64,
    pub(super) out_of_files: AtomicU64,
    breaches: [AtomicU64; Breach::ALL.len()],
}

impl Counters {
    pub(super) fn count(&self, breach: Breach) {
        self.breaches[breach as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn by_name(&self) -> Vec<(&'static str, u64)> {
        let plain = [
            ("accepted", &self.accepted),
            ("admitted", &self.admitted),
            ("closed", &self.closed),
            ("out_of_files", &self.out_of_files),
        ];
        let breaches = Breach::ALL.iter().map(|breach| (breach.name(), &self.breaches[*breach as usize]));
        let read = |(name, count): (_, &AtomicU64)| (name, count.load(Ordering::Relaxed));
        plain.into_iter().chain(breaches).map(read).collect()
    }
}
