//! Waiting for what may not be there: what is absent is never ready.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use ganger_transport::{Closed, ConnectError, Connection, Subscription};

/// A connection or subscription that is being made.
pub(crate) type Making<T> = Pin<Box<dyn Future<Output = Result<T, ConnectError>> + Send>>;

pub(crate) async fn receive<T: Connection>(connection: &mut Option<T>) -> Result<Bytes, Closed> {
    match connection {
        Some(connection) => connection.recv().await,
        None => std::future::pending().await,
    }
}

pub(crate) async fn listen<T: Subscription>(subscription: &mut Option<T>) -> Result<[Bytes; 3], Closed> {
    match subscription {
        Some(subscription) => subscription.recv().await,
        None => std::future::pending().await,
    }
}

pub(crate) async fn make<T>(making: &mut Option<Making<T>>) -> Result<T, ConnectError> {
    match making {
        Some(making) => making.await,
        None => std::future::pending().await,
    }
}
