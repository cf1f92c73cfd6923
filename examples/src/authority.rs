//! Certificates to try TLS with, made by an authority that lasts as long as the program.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};

/// An authority, and a folder of its own in which its certificates lie: [`ca`](Self::ca), and what it
/// [issues](Self::issue). The folder is gone with it.
#[derive(Debug)]
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: PathBuf,
}

impl Authority {
    /// A new one of this name.
    ///
    /// # Errors
    /// If its folder cannot be made, or the system has no randomness.
    pub fn new(name: &str) -> io::Result<Self> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let issuer = CertifiedIssuer::self_signed(params, key).map_err(io::Error::other)?;
        let folder = folder(name)?;
        fs::write(folder.join("ca.pem"), issuer.pem())?;
        Ok(Authority { issuer, folder })
    }

    /// Its own certificate, which clients are to trust: a PEM file.
    pub fn ca(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// A certificate for these DNS names and addresses, for servers and for clients: two PEM files, `FILE.pem` and
    /// `FILE.key`. Files that are there are replaced.
    ///
    /// # Errors
    /// If a name is none, or the files cannot be written.
    pub fn issue(&self, file: &str, names: &[&str]) -> io::Result<(PathBuf, PathBuf)> {
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names.clone()).map_err(io::Error::other)?;
        params.distinguished_name.push(DnType::CommonName, names.join(" "));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(io::Error::other)?;
        let (chain, secret) = (self.file(file, "pem"), self.file(file, "key"));
        fs::write(&chain, certificate.pem())?;
        fs::write(&secret, key.serialize_pem())?;
        Ok((chain, secret))
    }

    fn file(&self, name: &str, extension: &str) -> PathBuf {
        self.folder.join(format!("{name}.{extension}"))
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A new folder that nobody else can look into.
fn folder(name: &str) -> io::Result<PathBuf> {
    for number in 0..1000 {
        let path = std::env::temp_dir().join(format!("{name}-{}-{number}", std::process::id()));
        match make(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => return made.map(|()| path),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

fn make(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}
