//! TLS of the listener: the certificate that it shows, read again when its files change.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::private::{Stamp, stamp};
use crate::config::{ControlConfig, certificate};

/// Between two looks at the files.
const LOOK: Duration = Duration::from_secs(1);

/// What the listener speaks; none: no TLS.
///
/// # Errors
/// The files cannot be used, in words.
pub fn server(config: &ControlConfig) -> Result<Option<Arc<ServerConfig>>, String> {
    let (Some(cert), Some(key)) = (&config.tls_cert, &config.tls_key) else { return Ok(None) };
    let shown = Shown::read(cert.clone(), key.clone())?;
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().expect("ring has suites for them");
    let mut server = builder.with_no_client_auth().with_cert_resolver(Arc::new(shown));
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Some(Arc::new(server)))
}

/// The newest pair that could be used.
#[derive(Debug)]
struct Shown {
    cert: PathBuf,
    key: PathBuf,
    newest: Mutex<Newest>,
}

#[derive(Debug)]
struct Newest {
    pair: Arc<CertifiedKey>,
    stamps: [Option<Stamp>; 2],
    looked: Instant,
}

impl Shown {
    fn read(cert: PathBuf, key: PathBuf) -> Result<Self, String> {
        let stamps = [stamp(&cert), stamp(&key)];
        let pair = Arc::new(certificate::pair(&cert, &key)?);
        Ok(Self { cert, key, newest: Mutex::new(Newest { pair, stamps, looked: Instant::now() }) })
    }

    fn newest(&self, now: Instant) -> Arc<CertifiedKey> {
        let mut newest = self.newest.lock().expect("nothing panics while it holds this");
        if now.duration_since(newest.looked) >= LOOK {
            newest.looked = now;
            let stamps = [stamp(&self.cert), stamp(&self.key)];
            if newest.stamps != stamps {
                newest.stamps = stamps;
                self.renew(&mut newest);
            }
        }
        Arc::clone(&newest.pair)
    }

    fn renew(&self, newest: &mut Newest) {
        match certificate::pair(&self.cert, &self.key) {
            Ok(pair) => {
                newest.pair = Arc::new(pair);
                tracing::info!("the renewed certificate in {} is shown from now on", self.cert.display());
            }
            Err(error) => tracing::error!("the certificate stays as it was: {error}"),
        }
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.newest(Instant::now()))
    }
}
