//! TLS: a certificate and its key from two files, read again when they change.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use framebridge_auth::{Certificate, CertificateError};
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        self, ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject as _},
    },
    server::TlsStream,
};

/// The first byte of a TLS connection: a handshake record. No request begins with it.
pub(crate) const HANDSHAKE: u8 = 22;

/// Lets in by TLS. Clones share the certificate.
#[derive(Debug, Clone)]
pub struct Tls(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    certificate: PathBuf,
    key: PathBuf,
    current: Mutex<Current>,
}

#[derive(Debug)]
struct Current {
    config: Arc<ServerConfig>,
    certificate: Certificate,
    /// What the files were like when they were looked at last, whatever came of it.
    stamp: [Option<(SystemTime, u64)>; 2],
}

/// Why a pair of files can't be served with.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be read.
    #[error("can't read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The certificate makes no sense.
    #[error("{}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: CertificateError,
    },
    /// A file is not the PEM it should be.
    #[error("{} is not PEM of what it should be", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: pem::Error,
    },
    /// They don't belong together, or are of a kind that is not served.
    #[error("{} and {} can't be served with", certificate.display(), key.display())]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why not.
        #[source]
        source: rustls::Error,
    },
}

impl Tls {
    /// Reads both files.
    ///
    /// # Errors
    /// They can't be served with.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        Ok(Self(Arc::new(Inner {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            current: Mutex::new(read(certificate, key)?),
        })))
    }

    /// Reads both files again if one has changed, or `anyway`; whether it did. What can't be served with changes nothing, and
    /// is told once.
    ///
    /// # Errors
    /// They can't be served with: the certificate there was goes on.
    pub fn reload(&self, anyway: bool) -> Result<bool, TlsError> {
        let Inner { certificate, key, .. } = &*self.0;
        let stamp = stamp(certificate, key);
        if !anyway && self.current().stamp == stamp {
            return Ok(false);
        }
        let fresh = read(certificate, key);
        let mut current = self.current();
        match fresh {
            Ok(fresh) => {
                *current = fresh;
                Ok(true)
            }
            Err(error) => {
                current.stamp = stamp;
                Err(error)
            }
        }
    }

    /// The certificate that is served with.
    pub fn certificate(&self) -> Certificate {
        self.current().certificate.clone()
    }

    /// The handshake. Cancelling it ends the connection.
    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let config = Arc::clone(&self.current().config);
        TlsAcceptor::from(config).accept(stream).await
    }

    fn current(&self) -> std::sync::MutexGuard<'_, Current> {
        self.0.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(certificate: &Path, key: &Path) -> Result<Current, TlsError> {
    // Before they are read: what changes meanwhile is read again.
    let stamp = stamp(certificate, key);
    let bytes = |path: &Path| {
        fs::read(path).map_err(|source| TlsError::Read {
            path: path.to_owned(),
            source,
        })
    };
    let (chain, secret) = (bytes(certificate)?, bytes(key)?);
    let described = Certificate::read(&chain).map_err(|source| TlsError::Certificate {
        path: certificate.to_owned(),
        source,
    })?;
    let pem = |path: &Path| {
        let path = path.to_owned();
        move |source| TlsError::Pem { path, source }
    };
    let chain = CertificateDer::pem_slice_iter(&chain)
        .collect::<Result<Vec<_>, _>>()
        .map_err(pem(certificate))?;
    let secret = PrivateKeyDer::from_pem_slice(&secret).map_err(pem(key))?;
    let pair = |source| TlsError::Pair {
        certificate: certificate.to_owned(),
        key: key.to_owned(),
        source,
    };
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(pair)?
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .map_err(pair)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Current {
        config: Arc::new(config),
        certificate: described,
        stamp,
    })
}

fn stamp(certificate: &Path, key: &Path) -> [Option<(SystemTime, u64)>; 2] {
    [certificate, key].map(|path| {
        let found = fs::metadata(path).ok()?;
        Some((found.modified().ok()?, found.len()))
    })
}

#[cfg(test)]
mod tests {
    use std::{net::SocketAddr, time::Duration};

    use axum::{Extension, Router, routing::get};
    use framebridge_auth::self_signed;
    use tokio::{
        io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
        net::TcpListener,
        task::JoinSet,
        time::timeout,
    };
    use tokio_rustls::{
        TlsConnector,
        rustls::{ClientConfig, RootCertStore, pki_types::ServerName},
    };
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::{Patience, Transport, serve_over};

    trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
    impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

    fn write(dir: &Path, until: u64) -> (PathBuf, PathBuf) {
        let made = self_signed(&["localhost".into()], &[], 0, until).unwrap();
        let (certificate, key) = (dir.join("tls.crt"), dir.join("tls.key"));
        fs::write(&certificate, made.certificate).unwrap();
        fs::write(&key, made.key).unwrap();
        (certificate, key)
    }

    #[test]
    fn new_pair_is_taken_and_a_bad_one_keeps_the_old() {
        let dir = tempfile::tempdir().unwrap();
        let (certificate, key) = write(dir.path(), 2_000_000_000);
        let tls = Tls::load(&certificate, &key).unwrap();
        assert!(!tls.reload(false).unwrap());

        fs::write(&key, "no key").unwrap();
        assert!(matches!(tls.reload(true), Err(TlsError::Pem { .. })));
        assert_eq!(tls.certificate().not_after, 2_000_000_000);
        assert!(!tls.reload(false).unwrap(), "it is told once");

        write(dir.path(), 2_100_000_000);
        assert!(tls.reload(true).unwrap());
        assert_eq!(tls.certificate().not_after, 2_100_000_000);
    }

    /// What a client that trusts `certificate` is answered by TLS, or without it.
    async fn ask(address: SocketAddr, certificate: Option<&Path>) -> String {
        let mut stream: Box<dyn Stream> = Box::new(TcpStream::connect(address).await.unwrap());
        if let Some(certificate) = certificate {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_file(certificate).unwrap()).unwrap();
            let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(roots)
                .with_no_client_auth();
            let connector = TlsConnector::from(Arc::new(config));
            let name = ServerName::try_from("localhost").unwrap();
            stream = Box::new(connector.connect(name, stream).await.unwrap());
        }
        let request = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut answer = String::new();
        // A server that ends without close_notify is no matter to a test.
        _ = stream.read_to_string(&mut answer).await;
        answer
    }

    #[tokio::test]
    async fn requests_know_how_they_came_and_a_silent_client_ends() {
        let dir = tempfile::tempdir().unwrap();
        let (certificate, key) = write(dir.path(), 2_000_000_000);
        let tls = Tls::load(&certificate, &key).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route(
            "/",
            get(async |Extension(transport): Extension<Transport>| format!("{transport:?}")),
        );
        let patience = Patience {
            head: Duration::from_millis(300),
            ..Patience::default()
        };
        let mut server = JoinSet::new();
        server.spawn(serve_over(
            listener,
            (Some(tls), None),
            router,
            patience,
            CancellationToken::new(),
        ));
        assert!(ask(address, Some(&certificate)).await.ends_with("Tls"));
        assert!(ask(address, None).await.ends_with("Plain"));
        let mut silent = TcpStream::connect(address).await.unwrap();
        let mut rest = Vec::new();
        let ended = timeout(Duration::from_secs(5), silent.read_to_end(&mut rest)).await;
        assert_eq!(ended.unwrap().unwrap(), 0);
    }

    #[test]
    fn key_of_another_certificate_is_refused() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (certificate, _) = write(one.path(), 2_000_000_000);
        let (_, key) = write(other.path(), 2_000_000_000);
        assert!(matches!(Tls::load(&certificate, &key), Err(TlsError::Pair { .. })));
    }
}
