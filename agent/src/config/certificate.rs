//! A certificate and its key from PEM files: what is wrong with them is told when the configuration is read.

use std::fs;
use std::path::Path;

use rustls::crypto::ring;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};

/// The chain in the file at `path`, the server's own certificate first.
///
/// # Errors
/// Why it cannot be used, in words.
pub fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = fs::read(path).map_err(|error| format!("cannot read the file: {error}"))?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match chain {
        Ok(chain) if chain.is_empty() => Err("the file holds no certificate".to_owned()),
        Ok(chain) => Ok(chain),
        Err(error) => Err(format!("the file is no PEM: {error}")),
    }
}

/// The first private key in the file at `path`.
///
/// # Errors
/// Why it cannot be used, in words.
pub fn key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let pem = fs::read(path).map_err(|error| format!("cannot read the file: {error}"))?;
    PrivateKeyDer::from_pem_slice(&pem).map_err(|error| match error {
        PemError::NoItemsFound => "the file holds no private key, or one that is encrypted".to_owned(),
        error => format!("the file is no PEM: {error}"),
    })
}

/// Both, as a server shows them.
///
/// # Errors
/// Either cannot be used, or they do not fit each other; in words, with the file.
pub fn pair(cert_file: &Path, key_file: &Path) -> Result<CertifiedKey, String> {
    let (cert_shown, key_shown) = (cert_file.display(), key_file.display());
    let chain = chain(cert_file).map_err(|error| format!("{cert_shown}: {error}"))?;
    let key = key(key_file).map_err(|error| format!("{key_shown}: {error}"))?;
    CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(|error| match error {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            format!("the key in {key_shown} does not fit the certificate in {cert_shown}")
        }
        Error::InvalidCertificate(error) => format!("{cert_shown}: {error}"),
        error => format!("{key_shown}: {error}"),
    })
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    #[test]
    fn a_pair_that_cannot_be_shown_says_which_file_and_why() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        let write = |name: &str, text: &str| fs::write(path(name), text).expect("it is written");
        let (own, other) = (KeyPair::generate().expect("a key"), KeyPair::generate().expect("a key"));
        let params = CertificateParams::new(["eu-1.example".to_owned()]).expect("a name");
        write("cert.pem", &params.self_signed(&own).expect("a certificate").pem());
        write("key.pem", &own.serialize_pem());
        write("other.pem", &other.serialize_pem());
        write("empty.pem", "");
        write("encrypted.pem", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n");
        write("garbled.pem", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
        assert!(pair(&path("cert.pem"), &path("key.pem")).is_ok());
        for (cert, key, parts) in [
            ("cert.pem", "other.pem", ["other.pem", "does not fit"]),
            ("key.pem", "key.pem", ["key.pem", "no certificate"]),
            ("cert.pem", "cert.pem", ["cert.pem", "no private key"]),
            ("cert.pem", "empty.pem", ["empty.pem", "no private key"]),
            ("cert.pem", "encrypted.pem", ["encrypted.pem", "encrypted"]),
            ("cert.pem", "garbled.pem", ["garbled.pem", "key"]),
            ("nowhere.pem", "key.pem", ["nowhere.pem", "No such file"]),
        ] {
            let refused = pair(&path(cert), &path(key)).map(|_| ()).expect_err(key);
            assert!(parts.iter().all(|part| refused.contains(part)), "{cert} {key}: {refused}");
        }
    }
}
