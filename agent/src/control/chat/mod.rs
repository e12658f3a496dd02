//! Commands by chat: what owners write in their guild is run like any other command and answered in the channel; a change
//! with its plan first.
//!
//! Contract: one command at a time, as admin; the shards' [`Ear`](crate::shard::ear::Ear) decides who is heard. An
//! answer holds no secret, mentions nobody and fits into one message; that it was not posted is logged and nothing else.

mod message;
mod post;

use std::sync::Arc;

use pilothouse_shared::wire::Role;
use tokio::sync::mpsc;

use self::post::Post;
use super::Control;
use super::caller::{Caller, Way};
use super::dispatch::{Answer, Manner};
use super::plans::LIFETIME;
use super::refused::Refused;
use crate::config::Config;
use crate::shard::ear::Heard;

/// Commands that wait for the one that runs.
pub const WAITING: usize = 16;

/// Runs what is heard until no shard listens any more: at once, where chat is off.
pub async fn attend(control: Arc<Control>, config: Config, mut heard: mpsc::Receiver<Heard>) {
    let post = Post::new(&config);
    while let Some(Heard { channel, message, user, line }) = heard.recv().await {
        let caller = Caller::new(&format!("chat:{user}"), Role::Admin, None, Way::Chat);
        let said = answer(&control, &caller, &line).await.unwrap_or_else(|refused| refused.to_string());
        let body = message::body(&control.secrets.mask(&said), message);
        if let Err(why) = post.send(channel, &body).await {
            tracing::warn!("the answer to a command by chat was not posted: {}", control.secrets.mask(&why));
        }
    }
}

/// What changes something is answered with its plan; `apply ID` of the same user does it.
async fn answer(control: &Arc<Control>, caller: &Caller, line: &str) -> Result<String, Refused> {
    if let Some(plan) = line.trim().strip_prefix("apply ") {
        return control.apply(caller, plan.trim(), None, None).await;
    }
    match control.ask(caller, line, &Manner::default(), None).await? {
        Answer::Said(said) => Ok(said),
        Answer::Plan(plan) => Ok(format!("{plan}\n`apply {}` does it, within {} s", plan.id, LIFETIME.as_secs())),
    }
}
