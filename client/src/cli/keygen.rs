//! `keygen`: make a key, or a token.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::Args;
use ganger_client::json::hex;
use ganger_transport::door::SecretKey;
use serde_json::json;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::context::Context;
use super::exit::Exit;

#[derive(Args, Debug)]
pub(crate) struct KeygenArgs {
    /// Whose key it is; a word or two for people.
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Where the secret half goes; a file that is there is never replaced. Default: NAME.key, or NAME.token
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Make a token for HTTP instead of a key
    #[arg(long)]
    pub(crate) token: bool,
}

pub(crate) fn run(context: &mut Context, args: &KeygenArgs) -> Result<(), Exit> {
    let path = match &args.out {
        Some(path) => path.clone(),
        None if args.name.contains('/') || args.name.starts_with('.') || args.name.is_empty() => {
            return Err(Exit::Usage(format!(
                "keygen: {:?} cannot be the name of a file; say --out FILE",
                args.name
            )));
        }
        None => PathBuf::from(format!("{}.{}", args.name, if args.token { "token" } else { "key" })),
    };
    if args.token {
        return token(context, &args.name, &path);
    }
    let key = SecretKey::generate();
    key.save(&path, &args.name).map_err(|error| Exit::Failed(format!("keygen: {error}")))?;
    let public = key.public().to_string();
    if context.output.is_json() {
        return context.output.json(&json!({ "name": args.name, "public_key": public, "file": path }));
    }
    context
        .output
        .hint(&format!("the secret key is in {}: keep it to yourself; the public key:", path.display()));
    context.output.line(&public)
}

/// Makes a token. The broker's file has its fingerprint, from which nobody can make the token again.
fn token(context: &mut Context, name: &str, path: &Path) -> Result<(), Exit> {
    // Two UUIDs of version 4 are 244 bits of chance from the system.
    let chance = [Uuid::new_v4(), Uuid::new_v4()];
    let token = format!("ganger_{}", hex(&chance.map(Uuid::into_bytes).concat()));
    let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let written = written.and_then(|mut file| writeln!(file, "{token}"));
    written.map_err(|error| Exit::Failed(format!("keygen: {}: {error}", path.display())))?;
    let line = format!("token:{}", hex(&Sha256::digest(token.as_bytes())));
    if context.output.is_json() {
        return context.output.json(&json!({ "name": name, "fingerprint": line, "file": path }));
    }
    let place = path.display();
    context.output.hint(&format!("the token is in {place}: keep it to yourself; its fingerprint:"));
    context.output.line(&line)
}
