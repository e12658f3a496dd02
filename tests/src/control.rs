//! An agent's control surface, as a script uses it: commands and status.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use pilothouse_agent::config::Config;
use pilothouse_shared::snapshot::{Overview, SinkRow};
use serde_json::{Value, json};

/// Speaks to the agent of one configuration, also after a restart.
pub struct Control {
    client: reqwest::Client,
    address: String,
    token: PathBuf,
}

impl Control {
    /// Of the agent that runs with `config`, which must listen on a port of its own choice.
    pub fn of(config: &Config) -> Self {
        crate::install_crypto();
        let address = format!("http://{}", config.listen);
        Self { client: reqwest::Client::new(), address, token: config.data_dir.join("console.token") }
    }

    /// Runs a command that must succeed: its answer.
    pub async fn done(&self, line: &str) -> String {
        let (ok, text) = self.run(line).await;
        assert!(ok, "{line}: {text}");
        text
    }

    /// Runs a command that must be refused: why it was.
    pub async fn refused(&self, line: &str) -> String {
        let (ok, text) = self.run(line).await;
        assert!(!ok, "{line}: {text}");
        text
    }

    async fn run(&self, line: &str) -> (bool, String) {
        let request = self
            .client
            .post(format!("{}/v1/commands", self.address))
            .body(json!({"line": line, "yes": true}).to_string());
        let answer: Value =
            serde_json::from_str(&self.answer(request).await.expect("the agent answers")).expect("JSON");
        (answer["ok"] == true, answer["text"].as_str().expect("a text").to_owned())
    }

    /// `GET /v1/status`; none while the agent does not answer.
    pub async fn status(&self) -> Option<Overview> {
        let text = self.answer(self.client.get(format!("{}/v1/status", self.address))).await?;
        Some(serde_json::from_str(&text).expect("an overview"))
    }

    /// Waits until the row of sink `name` is as wanted, at most `limit`.
    pub async fn sink(&self, name: &str, limit: Duration, wanted: impl Fn(&SinkRow) -> bool) -> SinkRow {
        let find = |status: &Overview| status.sinks.iter().find(|row| row.name == name && wanted(row)).cloned();
        let status = self.shows(limit, |status| find(status).is_some()).await;
        find(&status).expect("it was seen")
    }

    /// Waits until the status is as wanted, at most `limit`.
    pub async fn shows(&self, limit: Duration, wanted: impl Fn(&Overview) -> bool) -> Overview {
        let start = Instant::now();
        loop {
            let status = self.status().await;
            if let Some(status) = status.as_ref().filter(|status| wanted(status)) {
                return status.clone();
            }
            assert!(start.elapsed() < limit, "not within {limit:?}: {status:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn answer(&self, request: reqwest::RequestBuilder) -> Option<String> {
        // It is new at each start of the agent.
        let token = std::fs::read_to_string(&self.token).ok()?;
        request.bearer_auth(token.trim()).send().await.ok()?.text().await.ok()
    }
}
