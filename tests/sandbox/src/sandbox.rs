//! The composition: config, ports, two threads (gateway and HTTP), shutdown.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};

use crate::config::{Rate, SandboxConfig};
use crate::fault::{BotMode, Fault, FaultKind};
use crate::gateway::{self, Body, Door, Status};
use crate::hub::Hub;
use crate::rest::{self, Rest};
use crate::tls::Tls;
use crate::verdict::Verdict;
use crate::{bot, traffic};

/// How often `settle` looks.
const POLL: Duration = Duration::from_millis(5);

/// A running sandbox; dropping it ends it.
#[derive(Debug)]
pub struct Sandbox {
    hub: Arc<Hub>,
    urls: Urls,
    stop: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Clone, Debug)]
struct Urls {
    rest: String,
    gateway: String,
    resume: String,
    bot: String,
}

/// The bound ports, as standard listeners: each thread's runtime takes its own.
struct Listeners {
    rest: std::net::TcpListener,
    gateway: std::net::TcpListener,
    resume: std::net::TcpListener,
    bot: std::net::TcpListener,
}

impl Sandbox {
    /// Binds the ports, starts the threads, and returns when everything accepts connections.
    ///
    /// # Errors
    /// An invalid configuration or a port that is taken.
    pub async fn start(config: SandboxConfig) -> anyhow::Result<Self> {
        config.check()?;
        let (listeners, urls) = bind(&config)?;
        let tls = config.tls.then(Tls::generate).transpose().context("cannot make certificates")?;
        let hub = Arc::new(Hub::new(config.clone(), tls));
        hub.state().resume_url = urls.resume.clone();
        let stop = watch::Sender::new(false);
        let Listeners { rest, gateway, resume, bot } = listeners;
        let threads = vec![
            spawn("sandbox-gateway", &stop, run_gateway(Arc::clone(&hub), gateway, resume)).await?,
            spawn("sandbox-http", &stop, run_http(Arc::clone(&hub), config, urls.clone(), rest, bot)).await?,
        ];
        Ok(Self { hub, urls, stop, threads })
    }

    /// The base of REST: agents ask `GET {rest_url}/v10/gateway/bot`.
    pub fn rest_url(&self) -> &str {
        &self.urls.rest
    }

    /// The gateway, `ws://127.0.0.1:PORT` (wss:// with TLS), as `/gateway/bot` names it.
    pub fn gateway_url(&self) -> &str {
        &self.urls.gateway
    }

    /// The gateway that READY names as `resume_gateway_url`.
    pub fn resume_url(&self) -> &str {
        &self.urls.resume
    }

    /// With TLS: the certificate of the authority that clients must trust.
    pub fn ca_pem(&self) -> Option<&str> {
        self.hub.tls.as_ref().map(|tls| tls.ca_pem.as_str())
    }

    /// Where the bot takes `{"payload":…,"shardId":…}` by POST.
    pub fn bot_url(&self) -> &str {
        &self.urls.bot
    }

    /// Makes something go wrong.
    pub fn fault(&self, fault: impl Into<Fault>) {
        self.hub.fault(&fault.into());
    }

    /// Changes the bot endpoint's behaviour.
    pub fn bot(&self, mode: BotMode) {
        self.fault(FaultKind::Bot { mode });
    }

    /// Changes the traffic.
    pub fn set_rate(&self, rate: Rate) {
        self.hub.state().set_rate(rate);
    }

    /// No more new events; what was sent is still delivered and replayed.
    pub fn stop_traffic(&self) {
        self.set_rate(Rate::PerSecond(0.0));
    }

    /// Enters a delivered payload, for sinks that do not POST to [`Self::bot_url`].
    pub fn received(&self, payload: &[u8]) {
        self.hub.received(payload);
    }

    /// Enters that the client, by its own count, has let `count` events called `name` go as too old, such as those that
    /// expired in a spool: how many of that type had not arrived, at most `count`.
    pub fn expired(&self, name: &str, count: u64) -> u64 {
        self.hub.ledger().outdated(name, count)
    }

    /// Waits until every event sent is received or excused; false if that took longer than `timeout`.
    pub async fn settle(&self, timeout: Duration) -> bool {
        let until = Instant::now() + timeout;
        self.wait_until(until, |hub| hub.ledger().outstanding() == 0).await
    }

    /// Waits until so many sessions are connected; false if that took longer than `timeout`.
    pub async fn connected(&self, sessions: usize, timeout: Duration) -> bool {
        let until = Instant::now() + timeout;
        self.wait_until(until, |hub| hub.state().status(hub.clock.now_us()).connected >= sessions).await
    }

    /// Waits until so many events were sent; false if that took longer than `timeout`.
    pub async fn sent(&self, events: u64, timeout: Duration) -> bool {
        let until = Instant::now() + timeout;
        self.wait_until(until, |hub| hub.ledger().sent() >= events).await
    }

    /// What it comes to so far.
    pub fn verdict(&self) -> Verdict {
        self.hub.verdict()
    }

    /// Ids of events still outstanding, oldest first, at most `limit`.
    pub fn missing(&self, limit: usize) -> Vec<u64> {
        self.hub.ledger().missing(limit)
    }

    /// REST answers of 401, 403 and 429: 10,000 in ten minutes get an address banned.
    pub fn invalid_requests(&self) -> u64 {
        self.hub.rest().invalid()
    }

    /// A snapshot of sessions, budget, requests heard and rules broken.
    pub fn status(&self) -> Status {
        let now_us = self.hub.clock.now_us();
        self.hub.state().status(now_us)
    }

    /// Guild `index`'s id.
    pub fn guild_id(&self, index: u32) -> u64 {
        self.hub.state().guilds.id(index)
    }

    /// Adds the bot to guild `index`, which it must have left before.
    pub fn join(&self, index: u32) {
        self.hub.state().join(index, self.hub.clock.now_us());
    }

    /// Removes the bot from guild `index`; before an agent connects that makes a guild to add later.
    pub fn leave(&self, index: u32) {
        self.hub.state().leave(index, self.hub.clock.now_us());
    }

    /// Begins or ends an outage of guild `index`.
    pub fn outage(&self, index: u32, out: bool) {
        self.hub.state().outage(index, out, self.hub.clock.now_us());
    }

    /// Sends a dispatch of your own, which the verdict does not count, to every session of guild `index`; `data` is
    /// its `d`, JSON.
    pub fn dispatch(&self, index: u32, kind: &'static str, data: impl Into<String>) {
        let body = Body::Json(data.into().into());
        self.hub.state().tell(index, kind, body, self.hub.clock.now_us());
    }

    /// The bodies that the bot took since the last call, at most 10,000; they are kept from the first call on.
    pub fn taken(&self) -> Vec<Vec<u8>> {
        self.hub.take_kept().into()
    }

    /// Ends all connections and threads, and waits for them.
    pub fn stop(mut self) {
        self.shut_down();
    }

    async fn wait_until(&self, until: Instant, done: impl Fn(&Hub) -> bool) -> bool {
        while !done(&self.hub) {
            if Instant::now() >= until {
                return false;
            }
            tokio::time::sleep(POLL).await;
        }
        true
    }

    fn shut_down(&mut self) {
        self.stop.send_replace(true);
        for thread in self.threads.drain(..) {
            // A panicked thread has printed its message; the test's own assertions say the rest.
            let _ = thread.join();
        }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.shut_down();
    }
}

fn bind(config: &SandboxConfig) -> anyhow::Result<(Listeners, Urls)> {
    let ports = config.ports;
    let (rest, rest_port) = listen("REST", ports.rest)?;
    let (gateway, gateway_port) = listen("gateway", ports.gateway)?;
    let (resume, resume_port) = listen("resume", ports.resume)?;
    let (bot, bot_port) = listen("bot", ports.bot)?;
    let scheme = if config.tls { "wss" } else { "ws" };
    let urls = Urls {
        rest: format!("http://127.0.0.1:{rest_port}"),
        gateway: format!("{scheme}://127.0.0.1:{gateway_port}"),
        resume: format!("{scheme}://127.0.0.1:{resume_port}"),
        bot: format!("http://127.0.0.1:{bot_port}"),
    };
    Ok((Listeners { rest, gateway, resume, bot }, urls))
}

fn listen(name: &str, port: u16) -> anyhow::Result<(std::net::TcpListener, u16)> {
    let listener = gateway::open_door(port).with_context(|| format!("cannot bind the {name} port {port}"))?;
    let port = listener.local_addr()?.port();
    Ok((listener.into_std()?, port))
}

/// Runs `service` on a thread of its own until `stop`; returns once it has started.
async fn spawn<F>(name: &str, stop: &watch::Sender<bool>, service: F) -> anyhow::Result<JoinHandle<()>>
where
    F: AsyncFnOnce(oneshot::Sender<()>) -> anyhow::Result<()> + Send + 'static,
{
    let mut stop = stop.subscribe();
    let (started, starting) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        let served = runtime.block_on(async {
            tokio::select! {
                served = service(started) => served,
                _ = stop.wait_for(|stop| *stop) => Ok(()),
            }
        });
        if let Err(error) = served {
            tracing::error!("the sandbox has failed: {error:#}");
        }
    })?;
    starting.await.with_context(|| format!("the thread {name} did not start"))?;
    Ok(thread)
}

fn run_gateway(
    hub: Arc<Hub>,
    main: std::net::TcpListener,
    resume: std::net::TcpListener,
) -> impl AsyncFnOnce(oneshot::Sender<()>) -> anyhow::Result<()> + Send + 'static {
    async move |started| {
        let (main, resume) = (TcpListener::from_std(main)?, TcpListener::from_std(resume)?);
        let closed = hub.closed.each_ref().map(watch::Sender::subscribe);
        let [main_closed, resume_closed] = closed;
        let _ = started.send(());
        tokio::join!(
            gateway::serve(Arc::clone(&hub), Door::Main, main, main_closed),
            gateway::serve(Arc::clone(&hub), Door::Resume, resume, resume_closed),
            traffic::drive(hub),
        );
        Ok(())
    }
}

fn run_http(
    hub: Arc<Hub>,
    config: SandboxConfig,
    urls: Urls,
    rest: std::net::TcpListener,
    bot: std::net::TcpListener,
) -> impl AsyncFnOnce(oneshot::Sender<()>) -> anyhow::Result<()> + Send + 'static {
    async move |started| {
        let (rest, bot) = (TcpListener::from_std(rest)?, TcpListener::from_std(bot)?);
        let mut authorizations = vec![format!("Bot {}", config.token)];
        authorizations.extend(config.rest_authorization);
        let routes =
            Rest { hub: Arc::clone(&hub), gateway_url: urls.gateway, latency: config.rest_latency, authorizations };
        let _ = started.send(());
        let (served, ()) = tokio::join!(
            axum::serve(rest, rest::router(routes)).into_future(),
            bot::serve(hub, config.bot_authorization, bot),
        );
        Ok(served?)
    }
}
