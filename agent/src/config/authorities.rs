//! Certificate authorities of a PEM file, read when the configuration is: what is wrong with the file is told then.

use std::path::{Path, PathBuf};
use std::{fmt, fs};

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// At least one authority.
#[derive(Clone)]
pub struct Authorities {
    path: PathBuf,
    pem: String,
    roots: RootCertStore,
}

impl Authorities {
    /// Reads the certificates in `path`; anything else in it is passed over.
    ///
    /// # Errors
    /// Why the file cannot be used, in words.
    pub fn read(path: impl Into<PathBuf>) -> Result<Self, String> {
        let path = path.into();
        let pem = fs::read(&path).map_err(|err| format!("cannot read the file: {err}"))?;
        let mut roots = RootCertStore::empty();
        for (index, certificate) in CertificateDer::pem_slice_iter(&pem).enumerate() {
            let certificate = certificate.map_err(|err| format!("the file is no PEM: {err}"))?;
            roots.add(certificate).map_err(|err| format!("certificate {} of the file: {err}", index + 1))?;
        }
        if roots.is_empty() {
            Err("the file holds no certificate".to_owned())
        } else {
            Ok(Self { path, pem: String::from_utf8_lossy(&pem).into_owned(), roots })
        }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the file holds.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// What to trust.
    pub fn roots(&self) -> &RootCertStore {
        &self.roots
    }
}

/// The file may hold a key beside its certificates.
impl fmt::Debug for Authorities {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} authorities of {}", self.roots.len(), self.path.display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Authorities, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        fs::write(&path, text).unwrap();
        Authorities::read(path)
    }

    fn pem() -> String {
        let key = rcgen::KeyPair::generate().unwrap();
        rcgen::CertificateParams::default().self_signed(&key).unwrap().pem() + &key.serialize_pem()
    }

    #[test]
    fn every_certificate_is_trusted_and_keys_are_passed_over() {
        assert_eq!(read(&format!("our own\n{}\n{}", pem(), pem())).unwrap().roots().len(), 2);
    }

    #[test]
    fn a_file_of_no_use_says_why() {
        let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
        for empty in ["", "no PEM at all", &key] {
            assert_eq!(read(empty).unwrap_err(), "the file holds no certificate", "{empty}");
        }
        let whole = pem();
        let cut = whole.split("-----END CERTIFICATE-----").next().unwrap().to_owned();
        assert!(read(&cut).unwrap_err().starts_with("the file is no PEM: "), "{:?}", read(&cut));
        let garbled = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
        assert!(read(garbled).unwrap_err().starts_with("certificate 1 of the file: "), "{:?}", read(garbled));
        let missing = Authorities::read("/nowhere/ca.pem").unwrap_err();
        assert!(missing.starts_with("cannot read the file: No such file"), "{missing}");
    }
}
