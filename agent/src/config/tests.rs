//! Sources laid over each other, every kind of error, and the committed files.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use pilothouse_shared::stage::StageName;

use super::*;

/// Loads a file's text, variables and flags; paths are shown as `pilothouse.toml`.
fn load_all(file: &str, env: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Loaded, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pilothouse.toml");
    fs::write(&path, file).unwrap();
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).into()));
    let flags = flags.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let sources = Sources { file: Some(path), env: env.collect(), flags: flags.collect() };
    let folder = format!("{}/", folder.path().display());
    load(&sources).map_err(|problems| problems.to_string().replace(&folder, ""))
}

fn errors(file: &str, env: &[(&str, &str)]) -> String {
    load_all(file, env, &[]).unwrap_err()
}

fn file_with_token(file: &str) -> Result<Loaded, String> {
    load_all(file, &[("TOKEN", "t")], &[])
}

fn http(sink: &SinkConfig) -> &HttpConfig {
    let SinkConfig::Http(http) = sink else { panic!("{sink:?}") };
    http
}

#[test]
fn the_guides_variables_are_a_complete_set_up() {
    let env = [
        ("TOKEN", "Bot abc.def"),
        ("REST_URL", "http://127.0.0.1:8000/"),
        ("AUTHORIZATION", "key"),
        ("EVENT_HANDLER_URLS", "http://127.0.0.1:1/, http://127.0.0.1:2/"),
        ("EVENT_LISTENER_URL", "http://127.0.0.1:3/"),
    ];
    let config = load_all("", &env, &[]).unwrap().config;
    assert_eq!(config.token.expose(), "abc.def");
    assert_eq!(config.rest_url, "http://127.0.0.1:8000");
    assert_eq!(config.intents, 513);
    assert_eq!((config.api_version, config.compression, config.shards), (10, Compression::Zlib, ShardCount::Auto));
    let [sink] = config.sinks.as_slice() else { panic!("{:?}", config.sinks) };
    assert_eq!(sink.name(), "http");
    assert_eq!(http(sink).urls, ["http://127.0.0.1:1/", "http://127.0.0.1:2/"]);
    assert_eq!(http(sink).authorization.as_ref().map(Secret::expose), Some("key"));
    assert_eq!(config.notices, ["EVENT_LISTENER_URL is not used: EVENT_HANDLER_URLS is set"]);
}

#[test]
fn the_listener_url_alone_makes_the_sink() {
    let config = load_all("", &[("TOKEN", "t"), ("EVENT_LISTENER_URL", "http://127.0.0.1:3/")], &[]).unwrap().config;
    assert_eq!(http(&config.sinks[0]).urls, ["http://127.0.0.1:3/"]);
}

#[test]
fn file_then_environment_then_flags() {
    let file = "token = 'file'\nshards = 2\nworkers = 3\nname = 'file'\n[gateway]\nready_timeout = '10s'\n";
    let env = [("PILOTHOUSE_SHARDS", "4"), ("PILOTHOUSE_WORKERS", "5")];
    let loaded = load_all(file, &env, &[("shards", "6")]).unwrap();
    assert_eq!(loaded.config.shards, ShardCount::Count(6));
    assert_eq!(loaded.config.workers, 5);
    assert_eq!(loaded.config.name, "file");
    assert_eq!(loaded.config.gateway.ready_timeout, Duration::from_secs(10));
    assert_eq!(loaded.origins["shards"], Origin::Flag("shards".to_owned()));
    assert_eq!(loaded.origins["workers"], Origin::Env("PILOTHOUSE_WORKERS".to_owned()));
    assert!(matches!(loaded.origins["gateway.ready_timeout"], Origin::File(_, 6)));
}

#[test]
fn a_sinks_urls_may_come_from_the_environment_alone() {
    let file = "token = 't'\n[[sinks]]\ntimeout = '2s'\n";
    let config = load_all(file, &[("EVENT_HANDLER_URLS", "http://j/")], &[]).unwrap().config;
    assert_eq!((http(&config.sinks[0]).urls.len(), http(&config.sinks[0]).timeout), (1, Duration::from_secs(2)));
}

#[test]
fn sinks_of_the_file_stay_beside_the_variables_one() {
    let file = "token = 't'\n[[sinks]]\nname = 'logs'\nurls = ['http://h/']\nroute_by = 'shard'\n\
                [[sinks]]\nurls = 'http://i/'\ntimeout = '2s'\n";
    let config = load_all(file, &[("EVENT_HANDLER_URLS", "http://j/")], &[]).unwrap().config;
    let names: Vec<_> = config.sinks.iter().map(SinkConfig::name).collect();
    assert_eq!(names, ["logs", "http"]);
    assert_eq!(http(&config.sinks[0]).route_by, RouteBy::Shard);
    let changed = http(&config.sinks[1]);
    assert_eq!(
        (changed.urls.as_slice(), changed.timeout),
        (["http://j/".to_owned()].as_slice(), Duration::from_secs(2))
    );
}

#[test]
fn every_problem_is_told_with_its_place() {
    let file = "shards = 0\ncompresion = 'zlib'\n\n[gateway]\nready_timeout = 5\nlarge_threshold = 300\n[log]\nlevel = 'no=way=out'\n";
    let said = errors(file, &[("PILOTHOUSE_INTENTS", "GILDS"), ("PILOTHOUSE_LISTEN", "7600")]);
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines[0], "pilothouse.toml:1: shards = \"0\": allowed is auto, or a whole number from 1 to 100000");
    assert_eq!(lines[1], "pilothouse.toml:2: compresion: no setting has this name, did you mean compression?");
    assert_eq!(
        lines[2],
        "pilothouse.toml:5: gateway.ready_timeout = \"5\": the unit is missing; allowed is a time such as 250ms, 5s or 1m, from 1ms to 10m"
    );
    assert!(lines[3].starts_with("pilothouse.toml:6: gateway.large_threshold = \"300\": allowed is"), "{said}");
    assert!(lines[4].starts_with("pilothouse.toml:8: log.level = \"no=way=out\": "), "{said}");
    assert!(lines[5].starts_with(
        "environment PILOTHOUSE_INTENTS: intents = \"GILDS\": no intent is called GILDS, did you mean GUILDS?;"
    ));
    assert!(
        lines[6].starts_with("environment PILOTHOUSE_LISTEN: listen = \"7600\": allowed is an IP address and a port"),
        "{said}"
    );
    assert_eq!(lines[7], "token: not set: put the bot's token into the environment variable TOKEN");
    assert_eq!(lines.len(), 8, "{said}");
}

#[test]
fn a_bad_flag_is_named() {
    let said = load_all("", &[("TOKEN", "t")], &[("api-version", "5")]).unwrap_err();
    assert_eq!(
        said,
        "flag --api-version: api_version = \"5\": allowed is a whole number from 6 to 99 (Discord discontinued 5 and everything before it)"
    );
}

#[test]
fn each_bad_value_is_refused() {
    let cases = [
        ("token = 'two words'", "1: token: allowed is a bot token"),
        ("compression = 'gzip'", "allowed is zlib, zstd or none"),
        ("rest_url = 'discord.com'", "discord.com: relative URL without a base"),
        ("rest_url = 'ftp://discord.com'", "the scheme is neither http nor https"),
        ("rest_url = 'https://discord.com/api/v10'", "leave out /v10: it comes from api_version"),
        ("workers = 257", "allowed is a whole number from 1 to 256"),
        ("workers = [1]", "one value is expected, not a list"),
        ("workers = 1979-05-27", "1: workers: a value of type datetime cannot stand here"),
        ("workers = { a = 1 }", "1: workers.a: no setting has this name"),
        ("name = 'a/b'", "allowed is up to 64 letters"),
        ("fleet = 'a b'", "allowed is up to 64 letters"),
        ("insecure = 'yes'", "allowed is true or false"),
        ("listen = '0.0.0.0:7600'", "1: listen = 0.0.0.0:7600: beyond loopback"),
        ("sinks = []", "sinks are tables, each begun with [[sinks]]"),
        ("sinks = 'http'", "sinks are tables, each begun with [[sinks]]"),
        ("[[sinks]]\nname = 'x'", "1: urls: the sink x has none"),
        ("[[sinks]]\nkind = 'carrier-pigeon'\nurls = 'http://h/'", "2: kind = \"carrier-pigeon\": allowed is http"),
        ("[[sinks]]\nurls = ['http://h/', 'nowhere']", "nowhere: relative URL without a base"),
        ("[[sinks]]\nurl = 'http://h/'", "2: url: no setting has this name, did you mean urls?"),
        ("[[sinks]]\nurls='http://h/'\n[[sinks]]\nurls='http://i/'", "another sink is called http already"),
        ("[[sinks]]\nurls='http://h/'\nconcurrency = 0", "3: concurrency = \"0\": allowed is"),
        ("[[sinks]]\nurls = ','", "2: urls = \",\": allowed is"),
        ("[[sink]]\nurls = 'http://h/'", "only sinks are written [[sinks]]"),
        ("identify_interval = '6s'", "did you mean gateway.identify_interval?"),
        ("[gateway]\nshards = 4", "2: gateway.shards: no setting has this name, did you mean shards?"),
        ("[log]\nformat = 'xml'", "2: log.format = \"xml\": allowed is text or json"),
        ("[log]\nkeep = 0", "log.keep = \"0\": allowed is"),
        ("[gateway]\nidentify_interval = '1s'", "gateway.identify_interval = 1s: Discord demands 5s"),
        ("[gateway]\npresence = 'idle'", "gateway.presence = \"idle\": expected"),
        ("[gateway]\nreserve_percent = 91", "gateway.reserve_percent = \"91\": allowed is"),
        (
            "[gateway]\nca_file = '/nowhere/ca.pem'",
            "2: gateway.ca_file = \"/nowhere/ca.pem\": cannot read the file: No such",
        ),
        ("[gateway]\nca_file = '/dev/null'", "gateway.ca_file = \"/dev/null\": the file holds no certificate"),
        ("[stages]\nenabled = 'message_updates'", "no stage is called message_updates, did you mean message_update?"),
        ("[stages]\nenabled = 'everything'", "the stages are guild_lifecycle, message_update, message_prefix, drop"),
        (
            "[stages]\nenabled = 'drop'",
            "2: stages.enabled = drop: the stage `drop` is enabled and stages.drop names no",
        ),
        ("[stages]\ndrop = 'TYPING_STRAT'", "no event type is called TYPING_STRAT, did you mean TYPING_START?"),
        ("[stages]\ndrop = 'other'", "no event type is called other"),
        ("[stages]\nprefixes = ['!', '']", "an empty prefix is that of every message"),
        ("shards 5", "pilothouse.toml:1: "),
        ("shards = 5\nshards = 6", "pilothouse.toml:2: duplicate key"),
    ];
    for (file, expected) in cases {
        let said = errors(file, &[("PILOTHOUSE_NAME", "x")]);
        assert!(said.contains(expected), "{file}\n  said {said}\n  not  {expected}");
    }
}

#[test]
fn each_kind_of_sink_has_its_settings_and_no_others() {
    let file = "token = 't'\n[[sinks]]\nkind = 'amqp'\nurl = 'amqps://bot:pw@mq/live'\nunroutable = 'drop'\n\
                routing_key = 'd.{shard}.{type}'\n[[sinks]]\nkind = 'nats'\nname = 'js'\n\
                urls = ['nats://k@a:4222', 'nats://k@b:4222']\nmax_age = 'never'\nreplicas = 3\n";
    let sinks = load_all(file, &[], &[]).unwrap().config.sinks;
    let [SinkConfig::Amqp(amqp), SinkConfig::Nats(nats)] = sinks.as_slice() else { panic!("{sinks:?}") };
    assert_eq!((amqp.name.as_str(), amqp.url.shown(), amqp.unroutable), ("amqp", "amqps://mq/live", Unroutable::Drop));
    assert_eq!((amqp.exchange.as_str(), amqp.routing_key.of("A", 0, 3)), ("pilothouse", "d.3.A".to_owned()));
    assert_eq!((nats.name.as_str(), nats.urls.len(), nats.replicas, nats.max_age), ("js", 2, 3, None));
    for (file, expected) in [
        (
            "kind = 'amqp'\nroute_by = 'shard'",
            "3: route_by: a sink of kind amqp has no such setting: it has kind, name, url, ca_file, exchange",
        ),
        (
            "kind = 'nats'\nexchange = 'e'",
            "3: exchange: a sink of kind nats has no such setting: it has kind, name, urls",
        ),
        (
            "urls = 'http://h/'\nstream = 'S'",
            "3: stream: a sink of kind http has no such setting: it has kind, name, urls",
        ),
        ("kind = 'amqp'\nurls = 'amqp://h/'", "3: urls: no setting has this name, did you mean url?"),
        ("kind = 'amqp'\nurl = 'http://h/'", "3: url: it must begin with amqp:// or amqps://"),
        ("kind = 'amqp'\nrouting_key = '{kind}'", "only {type}, {guild}, {shard} can stand in braces"),
        ("kind = 'nats'\nurls = ['nats://a@h', 'nats://b@i']", "3: urls: the URLs differ in their credentials"),
        ("kind = 'nats'\nstream = 'a.b'", "3: stream = \"a.b\": allowed is up to 64 letters"),
        ("kind = 'nats'\nsubject = 'a..b'", "3: subject = \"a..b\": allowed is letters"),
        ("kind = 'nats'\nmax_age = '5m'", "3: max_age = \"5m\": allowed is a time from 1h to 8760h, or never"),
        ("kind = 'carrier-pigeon'", "2: kind = \"carrier-pigeon\": allowed is http, amqp, nats or ndjson"),
    ] {
        let said = errors(&format!("[[sinks]]\n{file}\n"), &[("PILOTHOUSE_NAME", "x")]);
        assert!(said.contains(expected), "{file}\n  said {said}\n  not  {expected}");
    }
}

#[test]
fn brokers_may_come_from_the_environment_alone() {
    let env = [("TOKEN", "t"), ("PILOTHOUSE_AMQP_URL", "amqp://u:p@mq/"), ("PILOTHOUSE_NATS_URLS", "nats://n")];
    let file = "[[sinks]]\nkind = 'nats'\nstream = 'S'\n";
    let sinks = load_all(file, &env, &[]).unwrap().config.sinks;
    let [SinkConfig::Nats(nats), SinkConfig::Amqp(amqp)] = sinks.as_slice() else { panic!("{sinks:?}") };
    assert_eq!((nats.stream.as_str(), nats.urls[0].shown(), amqp.url.shown()), ("S", "nats://n", "amqp://mq"));
    let taken = "[[sinks]]\nname = 'amqp'\nurls = 'http://h/'\n";
    assert!(errors(taken, &env).contains("environment PILOTHOUSE_AMQP_URL: name: another sink is called amqp already"));
}

#[test]
fn stages_come_from_the_file_and_the_environment() {
    let file = "token = 't'\n[stages]\nenabled = 'drop'\nprefixes = ['!', 'hey bot ']\n\
                drop = 'typing_start, GUILD_CREATE_AVAILABLE'\n";
    let config = load_all(file, &[("PILOTHOUSE_STAGES", "guild_lifecycle,drop, drop")], &[]).unwrap().config;
    assert_eq!(config.stages.enabled, [StageName::GuildLifecycle, StageName::Drop]);
    assert_eq!(config.stages.prefixes, ["!", "hey bot "]);
    assert_eq!(config.stages.drop.names().collect::<Vec<_>>(), ["GUILD_CREATE_AVAILABLE", "TYPING_START"]);
}

#[test]
fn a_missing_file_is_named() {
    let sources = Sources {
        env: BTreeMap::from([("PILOTHOUSE_CONFIG".to_owned(), "/nowhere/p.toml".into())]),
        ..Sources::default()
    };
    let said = load(&sources).unwrap_err().to_string();
    assert!(said.starts_with("/nowhere/p.toml: cannot read the configuration: No such file"), "{said}");
}

#[test]
fn beyond_loopback_only_when_accepted() {
    let env = [("TOKEN", "t"), ("PILOTHOUSE_LISTEN", "0.0.0.0:7600")];
    assert!(errors("", &env).starts_with("environment PILOTHOUSE_LISTEN: listen = 0.0.0.0:7600: beyond loopback"));
    assert!(load_all("", &env, &[("insecure", "true")]).is_ok());
}

#[test]
fn secrets_are_shown_nowhere() {
    let file = "token = 'SECRET1'\nauthorization = 'SECRET2'\n[[sinks]]\nurls = 'http://h/'\nauthorization = 'SECRET3'\n\
         [[sinks]]\nkind = 'amqp'\nurl = 'amqp://u:SECRET4@h/'\n[[sinks]]\nkind = 'nats'\nurls = 'nats://SECRET5@h'\n";
    let loaded = load_all(file, &[], &[]).unwrap();
    let shown = format!("{loaded:?}{loaded:#?}{}{}", render::print(&loaded), loaded.config.token);
    assert!(!shown.contains("SECRET"), "{shown}");
    for (file, env) in [
        ("token = 'SECRET with spaces'", [("AUTHORIZATION", "SECRET\n2")]),
        ("tokn = 'SECRET'", [("TOKEN", "SECRET SECRET")]),
        ("token = 'SECRET", [("REST_URL", "http://user:SECRET@h/")]),
        (
            "[[sinks]]\nkind = 'amqp'\nurl = 'SECRET@h'",
            [("PILOTHOUSE_NATS_URLS", "nats://u:SECRET@h:port,nats://SECRET@i")],
        ),
        ("token = 'SECRET' 'SECRET'", [("EVENT_HANDLER_URLS", "http://:SECRET@h o/")]),
    ] {
        let said = errors(file, &env);
        assert!(!said.contains("SECRET"), "{said}");
    }
}

#[test]
fn what_does_nothing_is_said() {
    let env = [
        ("TOKEN", "t"),
        ("REST_URL", ""),
        ("GATEWAY_MANAGER_URL", "http://m/"),
        ("SERVER_URL_3", "http://s/"),
        ("INFLUX_URL", "http://i/"),
        ("INFLUX_TOKEN", "SECRET"),
        ("PILOTHOUSE_SHARD", "4"),
    ];
    let config = load_all("", &env, &[]).unwrap().config;
    assert_eq!(
        config.notices,
        [
            "environment REST_URL is empty: it counts as not set",
            "not needed, the agent does it all in one process: GATEWAY_MANAGER_URL, SERVER_URL_3",
            "this version does not act on INFLUX_URL, INFLUX_TOKEN yet: metrics for InfluxDB",
            "PILOTHOUSE_SHARD is no setting and does nothing, did you mean PILOTHOUSE_SHARDS?",
        ]
    );
    assert_eq!(config.rest_url, "https://discord.com/api");
}

#[test]
fn what_is_printed_is_a_file_that_says_the_same() {
    let env = [("TOKEN", "t"), ("EVENT_HANDLER_URLS", "http://h/,http://i/"), ("PILOTHOUSE_SHARDS", "7")];
    let printed = render::print(&load_all("", &env, &[]).unwrap());
    assert!(printed.contains("shards = 7 # environment PILOTHOUSE_SHARDS"), "{printed}");
    assert!(printed.contains("compression = \"zlib\" # default"), "{printed}");
    let again = render::print(&load_all(&printed, &[], &[]).unwrap());
    let values = |text: &str| text.lines().map(|line| line.split(" # ").next().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(values(&printed), values(&again));
}

#[test]
fn the_example_with_every_line_taken_is_valid() {
    let example = render::example();
    let settings = example.lines().filter_map(|line| {
        let is_taken = |line: &&str| line.contains(" = ") || ["[[sinks]]", "[scripts]"].contains(line);
        let line = line.strip_prefix("# ").filter(is_taken).unwrap_or(line);
        let takes_a_file = ["ca_file", "tls_cert", "tls_key"].iter().any(|key| line.starts_with(key));
        (!line.starts_with('#') && !takes_a_file).then(|| line.replace('…', "x"))
    });
    let loaded = load_all(&settings.collect::<Vec<_>>().join("\n"), &[], &[]).unwrap();
    assert_eq!(
        loaded.config.sinks.iter().map(SinkConfig::kind).collect::<Vec<_>>(),
        ["http", "amqp", "nats", "ndjson"]
    );
    assert_eq!(loaded.config.gateway.identify_interval, Duration::from_millis(5050));
    assert_eq!(loaded.config.scripts.len(), 2);
}

#[test]
fn scripts_are_commands_and_are_read_at_the_start() {
    let text = "[scripts]\nslow = 'shards.filter(|s| s.lag > 300)'\nmany = \"\"\"\nlet a = 1;\na\n\"\"\"\n";
    let loaded = file_with_token(text).expect("they can be read");
    assert_eq!(loaded.config.scripts.iter().map(|script| &*script.name).collect::<Vec<_>>(), ["many", "slow"]);
    assert!(render::print(&loaded).contains("\"slow\" = "), "{}", render::print(&loaded));
    let bad =
        file_with_token("[scripts]\nok = '1'\nbad = \"\"\"\nlet a = 1;\na +\n\"\"\"\n'no name' = '1'\nlist = ['1']\n");
    let said = bad.expect_err("they cannot be read").to_string();
    for expected in [
        ":3: scripts.bad: the script cannot be read: line 2, column",
        ":7: scripts.no name: the name",
        ":8: scripts.list: a script is one text",
    ] {
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn commands_by_chat_need_a_guild_an_owner_and_messages() {
    let on = "intents = 'GUILDS,GUILD_MESSAGES'\n[chat]\nguild = '9'\nowners = ['7', '8']\n";
    let loaded = file_with_token(on).expect("it can work");
    assert_eq!(loaded.config.chat.listens_in().map(|guild| guild.0), Some(9));
    assert!(
        loaded.config.notices.iter().any(|notice| notice.contains("MESSAGE_CONTENT")),
        "{:?}",
        loaded.config.notices
    );
    for (text, expected) in [
        ("[chat]\nguild = '9'", "chat.owners: chat.guild is set"),
        ("[chat]\nowners = '7'", "chat.guild: chat.owners is set"),
        ("intents = 'GUILDS'\n[chat]\nguild = '9'\nowners = '7'", "need the intent GUILD_MESSAGES"),
        ("[chat]\nguild = '9, 10'\nowners = '7'", "one id is expected"),
        ("[chat]\nguild = '9'\nowners = 'me'", "an id is a number"),
    ] {
        let said = file_with_token(text).expect_err(text).to_string();
        assert!(said.contains(expected), "{text}: {said}");
    }
    assert_eq!(file_with_token("").expect("nothing is needed").config.chat.listens_in(), None);
}

/// `UPDATE_ASSETS=1 cargo test --release -p pilothouse-agent config` writes them anew.
#[test]
fn the_committed_files_are_current() {
    let assets = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../assets"));
    for (name, current) in [("pilothouse.toml", render::example()), ("CONFIG.md", render::reference())] {
        let path = assets.join(name);
        if std::env::var_os("UPDATE_ASSETS").is_some() {
            fs::write(&path, &current).unwrap();
        }
        let committed = fs::read_to_string(&path).unwrap_or_default();
        assert!(committed == current, "assets/{name} has drifted: run this test with UPDATE_ASSETS=1");
    }
}

#[test]
fn too_few_open_files_are_told() {
    let mut config = Config::new("t");
    config.open_files = Some(1024);
    assert_eq!(config.too_few_files(100), None);
    assert!(config.too_few_files(1000).is_some_and(|said| said.contains("1128 open files, the limit is 1024")));
}

#[test]
fn with_a_certificate_the_agent_may_listen_beyond_loopback() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (key, other) = (rcgen::KeyPair::generate().unwrap(), rcgen::KeyPair::generate().unwrap());
    fs::write(path("cert.pem"), rcgen::CertificateParams::default().self_signed(&key).unwrap().pem()).unwrap();
    fs::write(path("key.pem"), key.serialize_pem()).unwrap();
    fs::write(path("other.pem"), other.serialize_pem()).unwrap();
    let load = |listen: &str, cert: Option<&str>, key: Option<&str>| {
        let of = |name: &str, file: Option<&str>| {
            file.map_or_else(String::new, |file| format!("control.{name} = '{}'\n", path(file)))
        };
        let (cert, key) = (of("tls_cert", cert), of("tls_key", key));
        load_all(&format!("token = 't'\nlisten = '{listen}'\n{cert}{key}"), &[], &[])
    };
    assert!(load("0.0.0.0:7600", Some("cert.pem"), Some("key.pem")).is_ok());
    assert!(load("127.0.0.1:7600", None, None).is_ok());
    for (cert, key, parts) in [
        (None, None, ["2: listen = 0.0.0.0:7600", "control.tls_cert"]),
        (Some("cert.pem"), None, ["control.tls_key", "not set, but control.tls_cert is"]),
        (None, Some("key.pem"), ["control.tls_cert", "not set, but control.tls_key is"]),
        (Some("cert.pem"), Some("other.pem"), ["4: control.tls_key = ", "other.pem does not fit the certificate"]),
        (Some("key.pem"), Some("key.pem"), ["3: control.tls_cert = ", "holds no certificate"]),
        (Some("cert.pem"), Some("missing.pem"), ["4: control.tls_key = ", "No such file"]),
    ] {
        let said = load("0.0.0.0:7600", cert, key).unwrap_err();
        assert!(parts.iter().all(|part| said.contains(part)) && said.lines().count() == 1, "{cert:?} {key:?}: {said}");
    }
}

#[test]
fn hosts_are_names_without_ports() {
    let hosts = |list: &str| load_all(&format!("token = 't'\n[control]\nhosts = {list}\n"), &[], &[]);
    let config = hosts("['EU-1.example', '2001:db8::1']").unwrap().config;
    assert_eq!(config.control.hosts, ["eu-1.example", "2001:db8::1"]);
    for wrong in ["'https://eu-1'", "'eu-1:7600'", "'*.example'"] {
        let said = hosts(wrong).unwrap_err();
        assert!(said.contains("control.hosts") && said.contains("is no host name"), "{said}");
    }
}

#[test]
fn the_data_folder_is_told_without_a_token() {
    let of = |env: &[(&str, &str)], flags: &[(&str, &str)], file: Option<&str>| {
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).into()));
        let flags = flags.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        data_dir(&Sources { file: file.map(Into::into), env: env.collect(), flags: flags.collect() })
    };
    let env = [("PILOTHOUSE_DATA_DIR", "/data"), ("PILOTHOUSE_SHARDS", "many")];
    assert_eq!(of(&env, &[], None).unwrap(), Path::new("/data"));
    assert_eq!(of(&env, &[("data-dir", "/flag")], None).unwrap(), Path::new("/flag"));
    assert!(of(&env, &[], Some("/nowhere.toml")).unwrap_err().to_string().contains("/nowhere.toml"));
}
