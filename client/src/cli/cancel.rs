//! `cancel`; and how the refusals of a request about several things are told.

use ganger_client::Refused;
use serde_json::json;

use super::args::IdsArgs;
use super::context::Context;
use super::exit::Exit;

pub(crate) async fn run(context: &mut Context, args: IdsArgs) -> Result<(), Exit> {
    let client = context.client().await?;
    let refused = context.answer(client.cancel(&args.ids)).await?;
    let names: Vec<String> = args.ids.iter().map(ToString::to_string).collect();
    print_verdicts(context, &names, &refused, "cancelled")
}

/// Prints what was done and what was refused, item by item.
pub(crate) fn print_verdicts(
    context: &mut Context,
    names: &[String],
    refused: &[Refused],
    done: &str,
) -> Result<(), Exit> {
    for (index, name) in names.iter().enumerate() {
        let refusal = refused.iter().find(|refusal| refusal.index == index);
        match (refusal, context.output.is_json()) {
            (Some(refusal), true) => context.output.json(&json!({
                "name": name, "done": false, "code": refusal.code, "error": refusal.text,
            }))?,
            (None, true) => context.output.json(&json!({ "name": name, "done": true }))?,
            (Some(_), false) => {}
            (None, false) => context.output.line(&format!("{name} {done}"))?,
        }
    }
    let told: Vec<String> = refused
        .iter()
        .map(|refusal| {
            let name = names.get(refusal.index).map_or("?", String::as_str);
            format!("{name}: {}: {}", refusal.code, refusal.text)
        })
        .collect();
    match told.is_empty() {
        true => Ok(()),
        false => Err(Exit::Refused(told.join("\nganger: "))),
    }
}
