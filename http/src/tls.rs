//! TLS: the certificate, and how it is renewed.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::RwLock;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::limits::TLS_FILE_BYTES_MAX;

/// Certificate and secret key could not be taken. Mending the files and reading them again helps.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Anybody can read the secret key.
    #[error("{}: everybody can read this secret key (mode {mode:03o}); run: chmod o= {}", path.display(), path.display())]
    Exposed {
        /// Which file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// A file does not hold what it should.
    #[error("{}: there is no {what} in PEM format in it", path.display())]
    Missing {
        /// Which file.
        path: PathBuf,
        /// What.
        what: &'static str,
    },
    /// The two do not belong together, or are of a kind that is not supported.
    #[error("{} with {}: {source}", cert.display(), key.display())]
    Rejected {
        /// The file with the certificates.
        cert: PathBuf,
        /// The file with the secret key.
        key: PathBuf,
        /// Why.
        #[source]
        source: rustls::Error,
    },
}

/// A certificate with its secret key, from files that can be read again. Clones are the same.
#[derive(Clone, Debug)]
pub struct Tls {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    cert: PathBuf,
    key: PathBuf,
    config: RwLock<Arc<ServerConfig>>,
}

impl Tls {
    /// Reads a chain of certificates, the own one first, and the secret key, both PEM.
    ///
    /// # Errors
    /// When a file cannot be read, does not hold what it should, or everybody can read the key.
    pub fn load(cert: &Path, key: &Path) -> Result<Self, TlsError> {
        let config = RwLock::new(read(cert, key)?);
        Ok(Self { inner: Arc::new(Inner { cert: cert.to_owned(), key: key.to_owned(), config }) })
    }

    /// Reads the files again, for handshakes from then on. Files that are wrong change nothing.
    ///
    /// # Errors
    /// As when they were read first.
    pub fn reload(&self) -> Result<(), TlsError> {
        let config = read(&self.inner.cert, &self.inner.key)?;
        *self.inner.config.write() = config;
        Ok(())
    }

    /// What makes connections encrypted, as the files were read last.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        self.inner.config.read().clone().into()
    }
}

fn read(cert: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let missing = |path: &Path, what| TlsError::Missing { path: path.to_owned(), what };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&contents(cert, false)?).collect();
    let chain = chain.ok().filter(|chain| !chain.is_empty()).ok_or_else(|| missing(cert, "certificate"))?;
    let secret = PrivateKeyDer::from_pem_slice(&contents(key, true)?);
    let secret = secret.map_err(|_| missing(key, "secret key"))?;
    let rejected = |source| TlsError::Rejected { cert: cert.to_owned(), key: key.to_owned(), source };
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(rejected)?
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .map_err(rejected)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The contents of a file. Groups may read a secret one: that is how certificates are shared on many systems.
fn contents(path: &Path, is_secret: bool) -> Result<Vec<u8>, TlsError> {
    let io = |source| TlsError::Io { path: path.to_owned(), source };
    let file = File::open(path).map_err(io)?;
    let found = file.metadata().map_err(io)?;
    let mode = found.mode() & 0o7777;
    if is_secret && found.is_file() && mode & 0o007 != 0 {
        return Err(TlsError::Exposed { path: path.to_owned(), mode });
    }
    let mut bytes = Vec::new();
    file.take(TLS_FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(io)?;
    Ok(bytes)
}

#[cfg(test)]
pub(crate) mod tests;
