//! The settings of the control surface, as data.

use std::net::IpAddr;
use std::path::PathBuf;

use super::certificate;
use super::keys::{Agent, put};
use super::value::{Raw, Rejected, quoted};

pub(super) const TLS_CERT: Agent = Agent::new(
    "control.tls_cert",
    "The certificate, with its chain, that consoles and HTTP see: then they use wss:// and https://. A file that is renewed is taken over within seconds.",
    "a path of a PEM file with a certificate",
    |config, raw| {
        let path = PathBuf::from(raw.text()?);
        certificate::chain(&path).map_err(Rejected::because)?;
        config.control.tls_cert = Some(path);
        Ok(())
    },
    |config| config.control.tls_cert.as_ref().map(|path| quoted(&path.to_string_lossy())),
)
.env("PILOTHOUSE_TLS_CERT")
.otherwise("none, no TLS", "\"/etc/pilothouse/cert.pem\"");

pub(super) const TLS_KEY: Agent = Agent::new(
    "control.tls_key",
    "The key of that certificate, not encrypted.",
    "a path of a PEM file with a private key",
    |config, raw| {
        let path = PathBuf::from(raw.text()?);
        certificate::key(&path).map_err(Rejected::because)?;
        config.control.tls_key = Some(path);
        Ok(())
    },
    |config| config.control.tls_key.as_ref().map(|path| quoted(&path.to_string_lossy())),
)
.env("PILOTHOUSE_TLS_KEY")
.otherwise("none, no TLS", "\"/etc/pilothouse/key.pem\"");

pub(super) const HOSTS: Agent = Agent::new(
    "control.hosts",
    "Names by which consoles and HTTP reach this agent, beside `localhost` and the address it listens on. Others are turned away, as a web page could lead one here.",
    "host names or IP addresses without a port, with commas between them or as a list",
    |config, raw| put(&mut config.control.hosts, hosts(raw)),
    |config| (!config.control.hosts.is_empty()).then(|| quoted(&config.control.hosts.join(", "))),
)
.env("PILOTHOUSE_HOSTS")
.otherwise("none", "\"eu-1.example\"");

pub(super) const AUDIT_KEEP: Agent = Agent::new(
    "control.audit_keep",
    "Days for which the audit log is kept: who changed what, in `audit` of the data folder.",
    "a whole number from 1 to 3650",
    |config, raw| put(&mut config.control.audit_keep, raw.whole(1..=3650)),
    |config| Some(config.control.audit_keep.to_string()),
);

fn hosts(raw: &Raw) -> Result<Vec<String>, Rejected> {
    let named = raw.list().into_iter().map(|host| {
        let letters = host.chars().all(|letter| letter.is_ascii_alphanumeric() || "-._".contains(letter));
        let fits = letters || host.parse::<IpAddr>().is_ok();
        if fits { Ok(host.to_lowercase()) } else { Err(Rejected::because(format!("{host} is no host name"))) }
    });
    named.collect()
}
