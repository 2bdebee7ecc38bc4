//! The knowledge map.

use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use ganger_client::session::request::{Answer, Ask, Reply, Request};
use ganger_client::{Entry, Error};
use ganger_common::view::KnowledgeStatusView;

use super::Refused;
use super::submit::show;
use crate::body::Taken;
use crate::gate::Caller;
use crate::limits::SHOWN_BYTES_MAX_ALL;
use crate::model::{EntryParams, EntryRow, EntryRows, ExpectParams, Written};
use crate::packed::Packed;
use crate::params::{Params, Segments};
use crate::refusal::Refusal;
use crate::reply::{Format, of_bytes};

/// Lists entries in the order of topic and key.
#[utoipa::path(
    get,
    path = "/v1/knowledge",
    params(EntryParams),
    responses((status = 200, description = "A page", body = EntryRows), Refused)
)]
pub(crate) async fn list(caller: Caller, Params(params): Params<EntryParams>) -> Result<Response, Refusal> {
    let after = match (params.after_topic, params.after_key) {
        (None, None) => None,
        (Some(topic), Some(key)) => Some((topic, key)),
        _ => return Err(Refusal::bad_option("after_topic and after_key come together")),
    };
    let ask = Ask::List { prefix: params.prefix, after, keys_only: !params.values };
    match caller.know(ask).await? {
        Reply::Entries { revision, items, more } => {
            let mut room = SHOWN_BYTES_MAX_ALL;
            let rows = items.into_iter().map(|entry| row(entry, &mut room)).collect();
            caller.ok(&EntryRows { revision, rows, more })
        }
        _ => Err(unexpected()),
    }
}

/// Which worker has which revision.
#[utoipa::path(
    get,
    path = "/v1/knowledge/status",
    responses((status = 200, description = "The map and the workers", body = KnowledgeStatusView), Refused)
)]
pub(crate) async fn status(caller: Caller) -> Result<Response, Refusal> {
    let status = caller.answer(caller.client.knowledge().status()).await?;
    caller.ok(&status)
}

/// One value.
#[utoipa::path(
    get,
    path = "/v1/knowledge/{topic}/{key}",
    params(("topic" = String, Path), ("key" = String, Path)),
    responses(
        (status = 200, description = "The entry; or, when asked for, the bytes of its value", content(
            (EntryRow = "application/json"),
            (Vec<u8> = "application/octet-stream"),
        )),
        Refused
    )
)]
pub(crate) async fn get(
    caller: Caller,
    Segments((topic, key)): Segments<(String, String)>,
) -> Result<Response, Refusal> {
    let entry = caller.answer(caller.client.knowledge().get(&topic, &key)).await?;
    if caller.format == Format::Bytes {
        let value = entry.value.unwrap_or_default();
        return Ok(of_bytes(StatusCode::OK, "application/octet-stream", value));
    }
    let mut room = SHOWN_BYTES_MAX_ALL;
    caller.ok(&row(entry, &mut room))
}

/// Sets a value.
#[utoipa::path(
    put,
    path = "/v1/knowledge/{topic}/{key}",
    params(("topic" = String, Path), ("key" = String, Path), ExpectParams),
    request_body(content(
        (serde_json::Value = "application/json"),
        (Vec<u8> = "application/octet-stream"),
        (Vec<u8> = "application/msgpack"),
    )),
    responses((status = 200, description = "It is set", body = Written), Refused)
)]
pub(crate) async fn put(
    caller: Caller,
    Segments((topic, key)): Segments<(String, String)>,
    Params(params): Params<ExpectParams>,
    body: Taken,
) -> Result<Response, Refusal> {
    let value: Bytes = match body.format {
        Format::Json | Format::MessagePack => body.read::<Packed>()?.0,
        Format::Bytes => body.bytes.clone(),
    };
    drop(body);
    caller.write(Ask::Put { topic, key, value, expect: params.expect }).await
}

/// Removes a key.
#[utoipa::path(
    delete,
    path = "/v1/knowledge/{topic}/{key}",
    params(("topic" = String, Path), ("key" = String, Path), ExpectParams),
    responses((status = 200, description = "It is removed", body = Written), Refused)
)]
pub(crate) async fn delete(
    caller: Caller,
    Segments((topic, key)): Segments<(String, String)>,
    Params(params): Params<ExpectParams>,
) -> Result<Response, Refusal> {
    caller.write(Ask::Delete { topic, key, expect: params.expect }).await
}

fn row(entry: Entry, room: &mut usize) -> EntryRow {
    let shown = entry.value.map(|value| show(&value, room)).unwrap_or_default();
    let Entry { topic, key, revision, .. } = entry;
    EntryRow { topic, key, revision, value: shown.result, left_out: shown.left_out }
}

fn unexpected() -> Refusal {
    Error::Protocol("the answer to another question came".to_owned()).into()
}

impl Caller {
    async fn know(&self, ask: Ask) -> Result<Reply, Refusal> {
        match self.answer(self.client.ask(Request::Knowledge(ask))).await? {
            Answer::Knowledge(reply) => Ok(reply),
            _ => Err(unexpected()),
        }
    }

    async fn write(&self, ask: Ask) -> Result<Response, Refusal> {
        match self.know(ask).await? {
            Reply::Written(revision) => self.ok(&Written { revision }),
            _ => Err(unexpected()),
        }
    }
}
