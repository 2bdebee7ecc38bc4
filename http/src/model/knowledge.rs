//! Entries of the knowledge map, and broadcasts.

use ganger_common::Revision;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::packed::{Base64, Packed, given};

/// Which entries of the knowledge map a listing shows.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct EntryParams {
    /// Only topics that begin with this.
    pub(crate) prefix: String,
    /// With `after_key`, the last entry of the page before.
    pub(crate) after_topic: Option<String>,
    /// With `after_topic`, the last entry of the page before.
    pub(crate) after_key: Option<String>,
    /// With their values.
    pub(crate) values: bool,
}

/// Under which condition an entry is changed.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct ExpectParams {
    /// Only if the key is at this revision; 0: only if there is no such key.
    #[param(value_type = Option<u64>)]
    pub(crate) expect: Option<Revision>,
}

/// One entry of the knowledge map.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EntryRow {
    /// The topic.
    pub(crate) topic: String,
    /// The key.
    pub(crate) key: String,
    /// The revision of its last change.
    pub(crate) revision: Revision,
    /// What the value says, where that is one value; else its text, or its bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) value: Option<Value>,
    /// The value is too large to be shown here.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) left_out: bool,
}

/// A page of entries.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EntryRows {
    /// The newest revision when the page was read.
    pub(crate) revision: Revision,
    /// The entries, by topic and key.
    pub(crate) rows: Vec<EntryRow>,
    /// Whether there are more after the last.
    pub(crate) more: bool,
}

/// A change of the knowledge map.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Written {
    /// Its revision.
    pub(crate) revision: Revision,
}

/// A broadcast.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Broadcast {
    /// The topic.
    #[schema(max_length = 128)]
    pub(crate) topic: String,
    /// Any value; listeners get it as MessagePack.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Value)]
    pub(crate) body: Option<Packed>,
    /// Instead of a value: bytes, in base64.
    #[schema(value_type = Option<String>, content_encoding = "base64")]
    pub(crate) body_base64: Option<Base64>,
}
