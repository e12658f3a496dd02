//! Commands by chat: what owners write in their guild is run like any other command and answered in the channel.
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
use crate::config::Config;
use crate::shard::ear::Heard;

/// Commands that wait for the one that runs.
pub const WAITING: usize = 16;

/// Runs what is heard until no shard listens any more: at once, where chat is off.
pub async fn attend(control: Arc<Control>, config: Config, mut heard: mpsc::Receiver<Heard>) {
    let post = Post::new(&config);
    while let Some(Heard { channel, message, user, line }) = heard.recv().await {
        tracing::info!(caller = format!("chat:{user}"), ?line, "a command by chat");
        let answer = control.run(Role::Admin, &line).await;
        let said = answer.unwrap_or_else(|refused| refused.to_string());
        let body = message::body(&control.hide(&said), message);
        if let Err(why) = post.send(channel, &body).await {
            tracing::warn!("the answer to a command by chat was not posted: {}", control.hide(&why));
        }
    }
}
