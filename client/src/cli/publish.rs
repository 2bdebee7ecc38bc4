//! `publish` and `subscribe`: broadcasts to whoever listens now.

use ganger_client::json;
use serde_json::json;

use super::args::{PublishArgs, SubscribeArgs};
use super::context::Context;
use super::exit::Exit;
use super::wait::result_text;

pub(crate) async fn publish(context: &mut Context, args: PublishArgs) -> Result<(), Exit> {
    let body = args.body.read()?;
    let client = context.client().await?;
    context.answer(client.publish(&args.topic, body)).await
}

pub(crate) async fn subscribe(context: &mut Context, args: SubscribeArgs) -> Result<(), Exit> {
    let client = context.listener(args.publications).await?;
    let mut broadcasts = context.answer(client.subscribe(&args.topic)).await?;
    context.output.hint("listening");
    let mut left = args.count;
    while left != Some(0) {
        let heard = broadcasts.next().await?;
        match context.output.is_json() {
            true => context.output.json(&json!({ "topic": heard.topic, "body": json::show(&heard.body) }))?,
            false => context.output.line(&format!("{} {}", heard.topic, result_text(&heard.body)))?,
        }
        context.output.flush()?;
        left = left.map(|left| left - 1);
    }
    Ok(())
}
