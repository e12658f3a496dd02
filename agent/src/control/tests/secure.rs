//! TLS of the listener: who believes its certificate is answered, renewals are taken over, slow handshakes delay nobody.

use std::path::Path;

use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

use super::*;
use crate::config::ControlConfig;

/// Writes a certificate and its key; whoever gets the answer believes it.
fn renew(folder: &Path) -> Arc<ClientConfig> {
    let key = rcgen::KeyPair::generate().expect("a key");
    let names = ["localhost".to_owned(), "eu-1.example".to_owned()];
    let cert = rcgen::CertificateParams::new(names).and_then(|params| params.self_signed(&key)).expect("a certificate");
    std::fs::write(folder.join("cert.pem"), cert.pem()).expect("it is written");
    std::fs::write(folder.join("key.pem"), key.serialize_pem()).expect("it is written");
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).expect("a certificate");
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().expect("ring has suites");
    let mut client = builder.with_root_certificates(roots).with_no_client_auth();
    // A session that is resumed shows no certificate.
    client.resumption = Resumption::disabled();
    Arc::new(client)
}

fn config(folder: &Path) -> ControlConfig {
    let (tls_cert, tls_key) = (Some(folder.join("cert.pem")), Some(folder.join("key.pem")));
    ControlConfig { tls_cert, tls_key, ..ControlConfig::default() }
}

impl Rig {
    /// The status of an answer over TLS; none where the certificate is not believed.
    async fn secure(&self, trust: &Arc<ClientConfig>) -> Option<u16> {
        let stream = TcpStream::connect(self.address).await.expect("it listens");
        let name = ServerName::try_from("localhost").expect("a name");
        let stream = TlsConnector::from(Arc::clone(trust)).connect(name, stream).await.ok()?;
        let head = format!("GET /v1/status HTTP/1.1\r\nAuthorization: Bearer {TOKEN}");
        Some(timeout(Duration::from_secs(5), self.ask_through(stream, &head, "")).await.expect("answered").0)
    }
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_and_a_wrong_one_is_not() {
    let folder = TempDir::new().expect("a folder");
    let first = renew(folder.path());
    let rig = Rig::served(1, tls::server(&config(folder.path())).expect("a pair")).await;
    assert_eq!(rig.secure(&first).await, Some(200));
    let second = renew(folder.path());
    assert_eq!(rig.secure(&second).await, None, "it is looked at once a second");
    sleep(Duration::from_millis(1_100)).await;
    assert_eq!((rig.secure(&second).await, rig.secure(&first).await), (Some(200), None));
    std::fs::write(folder.path().join("key.pem"), "half a k").expect("it is written");
    sleep(Duration::from_millis(1_100)).await;
    assert_eq!(rig.secure(&second).await, Some(200), "a pair of no use is not taken over");
    let third = renew(folder.path());
    sleep(Duration::from_millis(1_100)).await;
    assert_eq!(rig.secure(&third).await, Some(200));
}

#[tokio::test]
async fn without_tls_nothing_is_answered_and_slow_handshakes_delay_nobody() {
    let folder = TempDir::new().expect("a folder");
    let trust = renew(folder.path());
    let rig = Rig::served(1, tls::server(&config(folder.path())).expect("a pair")).await;
    let mut stream = TcpStream::connect(rig.address).await.expect("it listens");
    let plain = format!("GET /v1/status HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n");
    stream.write_all(plain.as_bytes()).await.expect("it reads");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"), "{}", String::from_utf8_lossy(&answer));
    let mut slow = Vec::new();
    for _ in 0..100 {
        let mut stream = TcpStream::connect(rig.address).await.expect("it listens");
        stream.write_all(&[22, 3, 1]).await.expect("it reads");
        slow.push(stream);
    }
    assert_eq!(rig.secure(&trust).await, Some(200));
}

#[tokio::test]
async fn a_console_attaches_over_tls() {
    let folder = TempDir::new().expect("a folder");
    let trust = renew(folder.path());
    let rig = Rig::served(1, tls::server(&config(folder.path())).expect("a pair")).await;
    let stream = TcpStream::connect(rig.address).await.expect("it listens");
    let name = ServerName::try_from("localhost").expect("a name");
    let stream = TlsConnector::from(trust).connect(name, stream).await.expect("it is believed");
    let mut request = format!("wss://{}/v1/console", rig.address).into_client_request().expect("a request");
    request.headers_mut().insert("authorization", format!("Bearer {TOKEN}").parse().expect("a header"));
    let (mut socket, _) = tokio_tungstenite::client_async(request, stream).await.expect("it is let in");
    let hello = ToAgent::Hello { protocol: PROTOCOL, client: "test".into() };
    socket.send(Message::text(serde_json::to_string(&hello).expect("a frame"))).await.expect("it reads");
    let answer = timeout(Duration::from_secs(5), socket.next()).await.expect("answered").expect("open");
    assert!(answer.expect("a frame").to_text().expect("text").contains("\"role\":\"admin\""));
}
