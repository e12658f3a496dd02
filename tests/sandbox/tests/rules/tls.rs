//! The gateway over TLS: the same rules, and nobody comes in who does not trust its authority.

use std::sync::Arc;

use pilothouse_sandbox::{Fault, FaultKind};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio_tungstenite::{Connector, connect_async, connect_async_tls_with_config};

use crate::client::{Client, Ended, identify, sandbox};

fn trusting(pem: &str) -> Connector {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate")).expect("an authority");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = builder.expect("versions of TLS").with_root_certificates(roots).with_no_client_auth();
    Connector::Rustls(Arc::new(config))
}

#[tokio::test]
async fn a_session_over_tls_begins_is_answered_and_ends_like_any_other() {
    let sandbox = sandbox(|config| config.tls = true).await;
    let ca = sandbox.ca_pem().expect("it speaks TLS");
    for url in [sandbox.gateway_url(), sandbox.resume_url(), &sandbox.gateway_url().replace("127.0.0.1", "localhost")] {
        let url = format!("{url}/?v=10&encoding=json");
        let (socket, _) = connect_async_tls_with_config(url, None, false, Some(trusting(ca))).await.expect("trusted");
        let mut client = Client::over(socket).await;
        client.send(identify(0, 1, pilothouse_sandbox::intents::ALL)).await;
        client.until("READY").await;
        client.send(serde_json::json!({"op": 1, "d": client.seq})).await;
        client.until_op(11).await;
        sandbox.fault(Fault::now(FaultKind::Close { code: 4009 }).on([0]));
        assert_eq!(client.end().await, Ended::Code(4009));
    }
    assert_eq!(sandbox.status().violations.len(), 0);
}

#[tokio::test]
async fn who_does_not_trust_the_authority_or_speaks_no_tls_does_not_come_in() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let sandbox = sandbox(|config| config.tls = true).await;
    let url = format!("{}/?v=10&encoding=json", sandbox.gateway_url());
    let refused = connect_async(&url).await.expect_err("not trusted");
    assert!(refused.to_string().contains("UnknownIssuer"), "{refused}");
    assert!(connect_async(url.replace("wss", "ws")).await.is_err());
    let status = sandbox.status();
    assert_eq!((status.accepted, status.connections), (2, 0));
}
