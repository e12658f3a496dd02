//! PURE: what is wrong with the certificate that another side shows, in words.

use std::error::Error;
use std::io;

use rustls::CertificateError;

/// Why a certificate is not taken, and what to do, where `error` comes of one: `shows a certificate that …`.
pub(super) fn problem(error: &(dyn Error + 'static)) -> Option<String> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(rustls::Error::InvalidCertificate(reason)) = error.downcast_ref() {
            return Some(told(reason));
        }
        // An I/O error does not name what it holds as its source.
        let held = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = held.map(|held| held as &(dyn Error + 'static)).or_else(|| error.source());
    }
    None
}

fn told(reason: &CertificateError) -> String {
    let what = match reason {
        CertificateError::UnknownIssuer => {
            "is of an authority that is not trusted: name that authority's file in ca_file"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "is for another host: use one of the names that it is for"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "has expired: renew it",
        other => return format!("shows a certificate that is not taken: {other}"),
    };
    format!("shows a certificate that {what}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_found_behind_other_errors() {
        let of = |reason| io::Error::other(io::Error::other(rustls::Error::InvalidCertificate(reason)));
        let told = problem(&of(CertificateError::UnknownIssuer)).expect("it is about a certificate");
        assert!(told.contains("ca_file"), "{told}");
        let told = problem(&of(CertificateError::Revoked)).expect("it is about a certificate");
        assert!(told.contains("not taken"), "{told}");
        assert_eq!(problem(&io::Error::other(rustls::Error::DecryptError)), None);
    }
}
