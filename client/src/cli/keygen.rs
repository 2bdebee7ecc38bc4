//! `keygen`: make a key.

use std::path::PathBuf;

use clap::Args;
use ganger_transport::door::SecretKey;
use serde_json::json;

use super::context::Context;
use super::exit::Exit;

#[derive(Args, Debug)]
pub(crate) struct KeygenArgs {
    /// Whose key it is; a word or two for people.
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Where the secret half goes; a file that is there is never replaced. Default: NAME.key
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
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
        None => PathBuf::from(format!("{}.key", args.name)),
    };
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
