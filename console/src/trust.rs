//! Whose certificates a wss:// link believes, and what to do where one is not believed.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{CertificateError, ClientConfig, Error, RootCertStore};

/// Believes the certificates in the PEM file at `path` and those that they have signed, and no others.
///
/// # Errors
/// Why the file cannot be used.
pub fn only(path: &Path) -> anyhow::Result<Arc<ClientConfig>> {
    let shown = path.display();
    let pem = fs::read(path).with_context(|| format!("--ca {shown} cannot be read"))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.with_context(|| format!("--ca {shown} is no PEM"))?;
        roots.add(certificate).with_context(|| format!("--ca {shown} holds a certificate that cannot be used"))?;
    }
    anyhow::ensure!(!roots.is_empty(), "--ca {shown} holds no certificate");
    Ok(Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()))
}

/// What is wrong with the TLS of the agent at `shown`, in words.
pub fn explain(error: &Error, shown: &str) -> String {
    match error {
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => format!(
            "the certificate of {shown} is not believed: its authority is unknown; name the authority's file, or the \
             certificate's own, by --ca FILE or PILOTHOUSE_CA"
        ),
        Error::InvalidCertificate(CertificateError::Other(other))
            if other.to_string().contains("CaUsedAsEndEntity") =>
        {
            format!(
                "the certificate of {shown} is not believed: it is an authority's own; make one for the agent with the \
                 basic constraint CA:FALSE"
            )
        }
        Error::InvalidCertificate(why) => format!("the certificate of {shown} is not believed: {why}"),
        Error::InvalidMessage(_) => format!("{shown} does not speak TLS: write ws:// if the agent has no certificate"),
        error => format!("{shown}: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_no_use_is_named() {
        let refused = |path: &str| format!("{:#}", only(Path::new(path)).expect_err(path));
        assert!(refused("/nowhere/ca.pem").starts_with("--ca /nowhere/ca.pem cannot be read: "));
        assert_eq!(refused("/dev/null"), "--ca /dev/null holds no certificate");
    }

    #[test]
    fn what_is_not_believed_is_said_with_what_to_do() {
        let said = |error| explain(&error, "wss://eu-1:7600");
        assert!(said(Error::InvalidCertificate(CertificateError::UnknownIssuer)).contains("--ca FILE"));
        assert!(said(Error::InvalidCertificate(CertificateError::Expired)).contains("Expired"));
        let plain = rustls::InvalidMessage::InvalidContentType;
        assert!(said(Error::InvalidMessage(plain)).contains("write ws://"));
    }
}
