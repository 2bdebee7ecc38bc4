//! What goes into a task, a value or a broadcast: JSON unless something else is said.

use std::io::Read;

use bytes::Bytes;
use clap::Args;
use ganger_client::json;
use ganger_common::limits::PAYLOAD_BYTES_MAX;

use super::args::FileArg;
use super::exit::Exit;

/// A payload on the command line.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct PayloadArgs {
    /// JSON, which is sent as MessagePack; `-` reads it from standard input. Default: nothing.
    #[arg(value_name = "PAYLOAD")]
    payload: Option<String>,
    /// Send PAYLOAD as it is, not as JSON.
    #[arg(long)]
    raw: bool,
    /// Send the bytes of this file as they are.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["payload", "raw"])]
    file: Option<FileArg>,
}

impl PayloadArgs {
    pub(crate) fn is_given(&self) -> bool {
        self.payload.is_some() || self.file.is_some()
    }

    pub(crate) fn is_raw(&self) -> bool {
        self.raw
    }

    /// The bytes to send.
    pub(crate) fn read(&self) -> Result<Bytes, Exit> {
        if let Some(path) = &self.file {
            let cannot = |error| Exit::Usage(format!("--file: cannot read {}: {error}", path.display()));
            return std::fs::File::open(path).and_then(read_all).map(Bytes::from).map_err(cannot);
        }
        let text = match self.payload.as_deref() {
            None => return Ok(Bytes::new()),
            Some("-") => {
                let cannot = |error| Exit::Failed(format!("cannot read standard input: {error}"));
                read_all(std::io::stdin()).map_err(cannot)?
            }
            Some(text) => text.as_bytes().to_vec(),
        };
        match self.raw {
            true => Ok(text.into()),
            false => pack(&text),
        }
    }
}

/// JSON text as the MessagePack to send.
fn pack(text: &[u8]) -> Result<Bytes, Exit> {
    let wrong =
        |why: String| Exit::Usage(format!("PAYLOAD is no JSON ({why}); to send it as it is, add --raw"));
    let value = serde_json::from_slice(text).map_err(|error| wrong(error.to_string()))?;
    json::to_msgpack(&value).map(Bytes::from).map_err(|error| wrong(error.to_string()))
}

/// Reads one byte more than is allowed at most, so that what is too large is refused and not cut.
fn read_all(source: impl Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(PAYLOAD_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
