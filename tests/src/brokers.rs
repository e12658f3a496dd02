//! Real message brokers for tests: each a private server on loopback with data of its own, that a test can kill and
//! restart. A server ends with the process that started it, however that ends, and leaves nothing behind.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::authority::Authority;
use crate::free_address;

/// Longest start of a server on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// Signals the server's whole session as its input says, and kills it when that ends, which it does with this process;
/// then its folder goes, too, unless the server is to come back.
const GUARD: &str = r#"
home=$1; shift
setsid "$@" </dev/null >>"$home/output" 2>&1 &
server=$!
while read -r word && [ "$word" != keep ]; do
    kill -s "$word" -- "-$server"
done
kill -s KILL -- "-$server"
wait
[ "$word" = keep ] || rm -rf -- "$home"
"#;

/// Where a program is: among the tools that `tests/run` installs, or on the path.
pub fn tool(name: &str) -> Result<PathBuf, String> {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/bin");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = std::iter::once(tools).chain(std::env::split_paths(&path));
    let found = folders.find_map(|folder| Some(folder.join(name)).filter(|path| path.is_file()));
    found.ok_or_else(|| format!("{name} is not installed: tests/run says how it is"))
}

/// A server in a session of its own.
struct Guarded {
    port: u16,
    home: PathBuf,
    command: Vec<String>,
    env: Vec<(&'static str, String)>,
    guard: Option<Child>,
}

impl Guarded {
    fn start(port: u16, home: PathBuf, command: Vec<String>, env: Vec<(&'static str, String)>) -> Self {
        let mut guarded = Self { port, home, command, env, guard: None };
        guarded.run();
        guarded
    }

    fn run(&mut self) {
        let mut guard = Command::new("sh");
        guard.args(["-c", GUARD, "sh"]).arg(&self.home).args(&self.command).envs(self.env.iter().cloned());
        self.guard = Some(guard.stdin(Stdio::piped()).spawn().expect("a shell"));
    }

    fn tell(&mut self, word: &str) {
        let guard = self.guard.as_mut().expect("it runs");
        let stdin = guard.stdin.as_mut().expect("its input is piped");
        stdin.write_all(format!("{word}\n").as_bytes()).expect("the guard reads");
    }

    /// Ends it by SIGKILL, and waits until it is gone. Its folder stays.
    fn kill(&mut self) {
        if self.guard.is_none() {
            return;
        }
        self.tell("keep");
        self.guard.take().expect("it was there").wait().expect("the guard ends");
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        if let Some(mut guard) = self.guard.take() {
            drop(guard.stdin.take());
            let _ = guard.wait();
        } else {
            let _ = fs::remove_dir_all(&self.home);
        }
    }
}

fn home(name: &str) -> PathBuf {
    tempfile::Builder::new().prefix(name).tempdir().expect("a temporary folder").keep()
}

/// Waits until a server answers `hello`; its own words when it does not.
async fn answers(server: &Guarded, hello: &[u8]) -> Result<(), String> {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if hears(server.port, hello).await.unwrap_or(false) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let said = fs::read_to_string(server.home.join("output")).unwrap_or_default();
    Err(format!("{} does not answer within {PATIENCE:?}: {said}", server.command.join(" ")))
}

async fn hears(port: u16, hello: &[u8]) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(hello).await?;
    Ok(stream.read(&mut [0; 64]).await? > 0)
}

/// A RabbitMQ, that also listens with TLS.
pub struct Rabbit {
    server: Guarded,
    tls_port: u16,
    authority: Authority,
}

impl Rabbit {
    /// The largest message that it takes, bytes.
    pub const MAX_MESSAGE: usize = 1 << 20;

    /// Starts it, or says why it cannot run here.
    pub async fn start() -> Result<Self, String> {
        // The script of that name on the path changes user and uses the system's folders.
        let program = Path::new("/usr/lib/rabbitmq/bin/rabbitmq-server");
        if !program.is_file() {
            return Err("RabbitMQ is not installed: tests/run says how it is".to_owned());
        }
        let home = home("rabbit");
        let (port, tls_port) = (free_address().port(), free_address().port());
        let authority = Authority::make(&home);
        fs::write(home.join("rabbitmq.conf"), Self::settings(tls_port, &authority)).expect("its folder can be written");
        fs::write(home.join("plugins"), "[].\n").expect("its folder can be written");
        let env = Self::env(&home, port);
        let epmd = "epmd -address 127.0.0.1 & exec \"$0\"".to_owned();
        let command = vec!["sh".to_owned(), "-c".to_owned(), epmd, program.display().to_string()];
        let server = Guarded::start(port, home, command, env);
        answers(&server, b"AMQP\0\0\x09\x01").await?;
        Ok(Self { server, tls_port, authority })
    }

    fn settings(tls_port: u16, authority: &Authority) -> String {
        let [ca, cert, key] =
            [authority.ca(), authority.cert(), authority.key()].map(|path| path.display().to_string());
        format!(
            "max_message_size = {}\ndisk_free_limit.absolute = 1MB\nlisteners.ssl.1 = 127.0.0.1:{tls_port}\n\
             ssl_options.cacertfile = {ca}\nssl_options.certfile = {cert}\nssl_options.keyfile = {key}\n\
             ssl_options.verify = verify_none\n",
            Self::MAX_MESSAGE
        )
    }

    fn env(home: &Path, port: u16) -> Vec<(&'static str, String)> {
        let place = |name: &str| home.join(name).display().to_string();
        let other_port = || free_address().port().to_string();
        vec![
            ("HOME", home.display().to_string()),
            ("ERL_EPMD_PORT", other_port()),
            ("ERL_EPMD_ADDRESS", "127.0.0.1".to_owned()),
            ("ERL_CRASH_DUMP", place("crash")),
            ("RABBITMQ_NODENAME", format!("test{port}@localhost")),
            ("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1".to_owned()),
            ("RABBITMQ_NODE_PORT", port.to_string()),
            ("RABBITMQ_DIST_PORT", other_port()),
            ("RABBITMQ_BASE", home.display().to_string()),
            ("RABBITMQ_MNESIA_BASE", place("data")),
            ("RABBITMQ_LOG_BASE", place("log")),
            ("RABBITMQ_CONFIG_FILE", place("rabbitmq.conf")),
            ("RABBITMQ_ADVANCED_CONFIG_FILE", place("none")),
            ("RABBITMQ_CONF_ENV_FILE", place("none")),
            ("RABBITMQ_ENABLED_PLUGINS_FILE", place("plugins")),
            ("RABBITMQ_GENERATED_CONFIG_DIR", place("generated")),
            ("RABBITMQ_PID_FILE", place("pid")),
        ]
    }

    /// Its URL for the user it has from the start.
    pub fn url(&self) -> String {
        self.url_of("guest", "guest")
    }

    /// The same over TLS.
    pub fn tls_url(&self) -> String {
        format!("amqps://guest:guest@127.0.0.1:{}/%2f", self.tls_port)
    }

    /// Whose certificate it shows there.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Its URL for a user.
    pub fn url_of(&self, user: &str, password: &str) -> String {
        format!("amqp://{user}:{password}@127.0.0.1:{}/%2f", self.server.port)
    }

    /// Kills it with SIGKILL.
    pub fn kill(&mut self) {
        self.server.kill();
    }

    /// Starts it again, with what it had.
    pub async fn restart(&mut self) {
        self.server.run();
        answers(&self.server, b"AMQP\0\0\x09\x01").await.expect("it starts again");
    }

    /// Stops it where it is, by SIGSTOP: its sockets stay, and it answers nothing.
    pub fn freeze(&mut self) {
        self.server.tell("STOP");
    }

    /// Lets it go on after [`Self::freeze`].
    pub fn thaw(&mut self) {
        self.server.tell("CONT");
    }
}

/// A NATS server with JetStream.
pub struct Nats {
    server: Guarded,
}

impl Nats {
    /// The largest message that it takes, bytes.
    pub const MAX_MESSAGE: usize = 1 << 20;
    /// The password of its user `bot`.
    pub const PASSWORD: &str = "hunter2";

    /// Starts it with one user, or says why it cannot run here.
    pub async fn start() -> Result<Self, String> {
        Self::start_with(&format!("authorization {{ user: bot, password: {} }}", Self::PASSWORD)).await
    }

    /// Starts it with `settings` that say who may use it and how.
    ///
    /// # Errors
    /// Why it cannot run here.
    pub async fn start_with(settings: &str) -> Result<Self, String> {
        let program = tool("nats-server")?;
        let home = home("nats");
        let port = free_address().port();
        let settings = format!(
            "listen: \"127.0.0.1:{port}\"\nmax_payload: {}\njetstream {{ store_dir: {:?} }}\n{settings}\n",
            Self::MAX_MESSAGE,
            home.join("data"),
        );
        let file = home.join("nats.conf");
        fs::write(&file, settings).expect("its folder can be written");
        let command = [program, "-c".into(), file].map(|word| word.display().to_string());
        let server = Guarded::start(port, home, command.to_vec(), Vec::new());
        answers(&server, b"").await?;
        Ok(Self { server })
    }

    /// Its URL without credentials.
    pub fn bare_url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.server.port)
    }

    /// Its URL for its user.
    pub fn url(&self) -> String {
        self.url_of("bot", Self::PASSWORD)
    }

    /// Its URL for a user.
    pub fn url_of(&self, user: &str, password: &str) -> String {
        format!("nats://{user}:{password}@127.0.0.1:{}", self.server.port)
    }

    /// Kills it with SIGKILL.
    pub fn kill(&mut self) {
        self.server.kill();
    }

    /// Starts it again, with what it had.
    pub async fn restart(&mut self) {
        self.server.run();
        answers(&self.server, b"").await.expect("it starts again");
    }

    /// Stops it where it is, by SIGSTOP: its sockets stay, and it answers nothing.
    pub fn freeze(&mut self) {
        self.server.tell("STOP");
    }

    /// Lets it go on after [`Self::freeze`].
    pub fn thaw(&mut self) {
        self.server.tell("CONT");
    }
}
