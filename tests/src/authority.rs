//! A certificate authority of a test's own, as files: what private servers show, and what their clients must trust.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose};

/// An authority, and its certificate for loopback.
#[derive(Clone, Debug)]
pub struct Authority {
    folder: PathBuf,
}

impl Authority {
    /// Makes it in `folder`, which outlives it.
    pub fn make(folder: &Path) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = || KeyPair::generate().expect("a key");
        let authority = CertifiedIssuer::self_signed(params, key()).expect("an authority");
        let names = ["127.0.0.1".to_owned(), "localhost".to_owned()];
        let (own, params) = (key(), CertificateParams::new(names).expect("names"));
        let certificate = params.signed_by(&own, &authority).expect("a certificate");
        let made = Self { folder: folder.to_owned() };
        let files = [(made.ca(), authority.pem()), (made.cert(), certificate.pem()), (made.key(), own.serialize_pem())];
        files.into_iter().for_each(|(path, pem)| fs::write(path, pem).expect("the folder can be written"));
        made
    }

    /// What clients must trust, PEM.
    pub fn ca(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// The certificate for 127.0.0.1 and localhost, PEM.
    pub fn cert(&self) -> PathBuf {
        self.folder.join("cert.pem")
    }

    /// Its key, PEM.
    pub fn key(&self) -> PathBuf {
        self.folder.join("key.pem")
    }
}
