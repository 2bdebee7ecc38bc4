//! `discard`: failed and dead tasks are let go, by id or all of them.

use std::io::{self, BufRead, IsTerminal, Write};

use ganger_client::{Client, DiscardQuery};
use ganger_common::view::Among;
use serde_json::json;

use super::args::DiscardArgs;
use super::cancel::print_verdicts;
use super::context::Context;
use super::exit::Exit;

pub(crate) async fn run(context: &mut Context, args: DiscardArgs) -> Result<(), Exit> {
    if !args.yes {
        ask(&question(&args))?;
    }
    let client = context.client().await?;
    match among(&args) {
        Some(among) => all(context, &client, among, args.kind).await,
        None => {
            let refused = context.answer(client.discard(&args.ids)).await?;
            let names: Vec<String> = args.ids.iter().map(ToString::to_string).collect();
            print_verdicts(context, &names, &refused, "is discarded")
        }
    }
}

/// All that fit. Each part has its own time-out: there may be as many as anybody has let gather.
async fn all(context: &mut Context, client: &Client, among: Among, kind: Option<String>) -> Result<(), Exit> {
    let mut query = DiscardQuery { among, kind, after: None };
    let mut all = 0;
    loop {
        let (count, next) = context.answer(client.discard_some(query.clone())).await?;
        all += count;
        query.after = next;
        if query.after.is_none() {
            break;
        }
    }
    match context.output.is_json() {
        true => context.output.json(&json!({ "discarded": all })),
        false => context.output.line(&format!("{all} tasks are discarded")),
    }
}

fn among(args: &DiscardArgs) -> Option<Among> {
    match (args.dead, args.failed) {
        (true, true) => Some(Among::Any),
        (true, false) => Some(Among::Dead),
        (false, true) => Some(Among::Failed),
        (false, false) => None,
    }
}

fn question(args: &DiscardArgs) -> String {
    let what = match among(args) {
        None => match args.ids.len() {
            1 => "this task".to_owned(),
            count => format!("these {count} tasks"),
        },
        Some(Among::Dead) => "all dead tasks".to_owned(),
        Some(Among::Failed) => "all failed tasks".to_owned(),
        Some(Among::Any) => "all failed and dead tasks".to_owned(),
    };
    let of = args.kind.as_ref().map(|kind| format!(" of the kind {kind}")).unwrap_or_default();
    format!("Discard {what}{of}? They cannot be retried afterwards, and nobody remembers them.")
}

/// Asks on the terminal. A script has nobody to ask, so it has to say so beforehand.
fn ask(question: &str) -> Result<(), Exit> {
    if !io::stdin().is_terminal() {
        return Err(Exit::Usage("discard: nobody can be asked here; say --yes if it is meant".to_owned()));
    }
    let mut answer = String::new();
    write!(io::stderr(), "{question} [y/N] ")?;
    io::stdin().lock().read_line(&mut answer)?;
    match matches!(answer.trim(), "y" | "Y" | "yes") {
        true => Ok(()),
        false => Err(Exit::Refused("nothing was discarded".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_question_says_what_would_go() {
        let none = DiscardArgs { ids: Vec::new(), dead: false, failed: false, kind: None, yes: false };
        let dead = DiscardArgs { dead: true, kind: Some("resize".to_owned()), ..none };
        assert!(question(&dead).starts_with("Discard all dead tasks of the kind resize?"));
        let both = DiscardArgs { failed: true, kind: None, ..dead };
        assert!(question(&both).starts_with("Discard all failed and dead tasks?"));
    }
}
