//! The sinks over TLS, to brokers whose authority is private, and with every kind of credentials that a broker knows.

use std::fs;
use std::path::PathBuf;

use lapin::types::FieldTable;
use pilothouse_agent::config::{AmqpConfig, Authorities, BrokerUrl, NatsConfig};
use pilothouse_agent::sinks::amqp::AmqpTransport;
use pilothouse_agent::sinks::delivery::{Outcome, Transport};
use pilothouse_agent::sinks::nats::NatsTransport;
use pilothouse_tests::authority::Authority;
use pilothouse_tests::brokers::Nats;
use tempfile::TempDir;
use tokio::task::LocalSet;

use crate::amqp::{self, consumer, rabbit};
use crate::feed::{deliver_all, deliveries, single};

/// What only people can change is told like this, and attempted again after a pause.
async fn told(transport: &impl Transport) -> String {
    let Outcome::Failed { reason, pause } = transport.deliver(&[single(1, "x")]).await else { panic!("it is taken") };
    println!("{} {reason}", transport.shown());
    assert!(pause.is_some(), "{reason}");
    reason
}

/// Delivers some events for some guilds, at the first attempt.
async fn delivers(transport: &impl Transport) {
    let failures = LocalSet::new().run_until(deliver_all(transport, &deliveries(10, 10))).await;
    assert!(failures.is_empty(), "{failures:?}");
}

fn trusting(authority: &Authority) -> Option<Authorities> {
    Some(Authorities::read(authority.ca()).expect("an authority"))
}

#[tokio::test]
async fn amqps_trusts_a_private_authority_once_it_is_named() {
    let Some(rabbit) = rabbit().await else { return };
    let (_connection, channel) = consumer(&rabbit.url(), "secure", "#", FieldTable::default()).await;
    let url = BrokerUrl::parse(&rabbit.tls_url(), &["amqps"]).expect("a URL");
    let config = AmqpConfig { url, ..amqp::config(&rabbit.url(), "secure") };
    let reason = told(&AmqpTransport::new(config.clone())).await;
    assert!(reason.contains("authority that is not trusted") && reason.contains("ca_file"), "{reason}");

    let ca_file = trusting(rabbit.authority());
    delivers(&AmqpTransport::new(AmqpConfig { ca_file: ca_file.clone(), ..config })).await;
    assert_eq!(amqp::drain(&channel, "secure").await.len(), 100);

    let wrong = rabbit.tls_url().replace("guest:guest", "guest:SECRET");
    let url = BrokerUrl::parse(&wrong, &["amqps"]).expect("a URL");
    let config = AmqpConfig { url, ca_file, ..amqp::config(&rabbit.url(), "secure") };
    let reason = told(&AmqpTransport::new(config)).await;
    assert!(reason.contains("check the URL's user and password") && !reason.contains("SECRET"), "{reason}");
}

/// A NATS server with such settings, and the sink on the stream `secure` of it.
async fn server(settings: &str) -> Option<(Nats, NatsConfig)> {
    let nats = Nats::start_with(settings).await;
    let nats = nats.inspect_err(|why| eprintln!("SKIPPED: the nats sink's credentials: {why}")).ok()?;
    let config = NatsConfig { stream: "secure".to_owned(), ..NatsConfig::new([url(&nats.bare_url())]) };
    Some((nats, config))
}

fn url(text: &str) -> BrokerUrl {
    BrokerUrl::parse(text, &["nats", "tls"]).expect("a URL")
}

#[tokio::test]
async fn nats_over_tls_trusts_a_private_authority_once_it_is_named() {
    let folder = TempDir::new().expect("a temporary folder");
    let authority = Authority::make(folder.path());
    let tls = format!("tls {{ cert_file: {:?}, key_file: {:?} }}", authority.cert(), authority.key());
    let Some((nats, config)) = server(&tls).await else { return };
    let config = NatsConfig { urls: vec![url(&nats.bare_url().replace("nats://", "tls://"))], ..config };
    let reason = told(&NatsTransport::new(config.clone())).await;
    assert!(reason.contains("authority that is not trusted") && reason.contains("ca_file"), "{reason}");
    delivers(&NatsTransport::new(NatsConfig { ca_file: trusting(&authority), ..config })).await;
}

#[tokio::test]
async fn a_nats_token_is_read_of_the_url() {
    let Some((nats, config)) = server("authorization { token: \"open@sesame\" }").await else { return };
    let with = |token: &str| {
        let urls = vec![url(&nats.bare_url().replace("//", &format!("//{token}@")))];
        NatsConfig { urls, ..config.clone() }
    };
    let reason = told(&NatsTransport::new(with("SECRET"))).await;
    assert!(reason.contains("refuses the credentials") && !reason.contains("SECRET"), "{reason}");
    delivers(&NatsTransport::new(with("open%40sesame"))).await;
}

#[tokio::test]
async fn a_nats_credentials_file_proves_a_user_of_an_operator() {
    let (operator, creds) = (include_str!("credentials/operator.conf"), include_str!("credentials/bot.creds"));
    let Some((_nats, config)) = server(operator).await else { return };
    let folder = TempDir::new().expect("a temporary folder");
    let file = |name: &str, text: &str| -> PathBuf {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("the folder can be written");
        path
    };
    let with = |path: PathBuf| NatsConfig { credentials_file: Some(path), ..config.clone() };
    let seed = creds.lines().find(|line| line.starts_with("SU")).expect("a seed");
    let (head, tail) = creds.split_once("\n------END NATS").expect("a JWT and a seed");
    let forged = format!("{}AAAA\n------END NATS{tail}", &head[..head.len() - 4]);
    for (credentials, reason) in [
        (config.clone(), "refuses the credentials"),
        (with(file("forged.creds", &forged)), "refuses the credentials"),
        (with(file("empty.creds", "no credentials")), "empty.creds"),
        (with(folder.path().join("missing.creds")), "missing.creds"),
    ] {
        let told = told(&NatsTransport::new(credentials)).await;
        assert!(told.contains(reason) && !told.contains(seed), "{told} does not say {reason}");
    }
    delivers(&NatsTransport::new(with(file("bot.creds", creds)))).await;
}
