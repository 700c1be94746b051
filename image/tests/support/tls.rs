//! Certificates, made on the spot by `openssl`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tempfile::TempDir;

/// A CA of its own.
pub struct Authority {
    folder: TempDir,
}

impl Authority {
    pub fn new() -> Authority {
        let authority = Authority { folder: tempfile::tempdir().unwrap() };
        authority.openssl(&format!(
            "req -x509 {KEY} -keyout ca.key -out ca.crt -subj /CN=ca -days 2 -addext keyUsage=critical,keyCertSign"
        ));
        authority
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Makes NAME.crt and NAME.key.
    pub fn issue(&self, name: &str, usage: &str) {
        let extensions = format!("subjectAltName=IP:127.0.0.1,DNS:registry.test\nextendedKeyUsage={usage}\n");
        fs::write(self.path("extensions"), extensions).unwrap();
        self.openssl(&format!("req {KEY} -keyout {name}.key -out {name}.csr -subj /CN={name}"));
        self.openssl(&format!(
            "x509 -req -in {name}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile extensions -out {name}.crt"
        ));
    }

    /// What a server with the certificate `server` uses; with `clients` it wants theirs to be from this CA.
    pub fn server(&self, clients: bool) -> Arc<ServerConfig> {
        self.issue("server", "serverAuth");
        let certificate = |name: &str| CertificateDer::from_pem_file(self.path(name)).unwrap();
        let key = PrivateKeyDer::from_pem_file(self.path("server.key")).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder =
            ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
        let builder = if clients {
            let mut roots = RootCertStore::empty();
            roots.add(certificate("ca.crt")).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        } else {
            builder.with_no_client_auth()
        };
        Arc::new(builder.with_single_cert(vec![certificate("server.crt")], key).unwrap())
    }

    fn openssl(&self, arguments: &str) {
        let mut command = Command::new("openssl");
        let output = command.args(arguments.split(' ')).current_dir(self.folder.path()).output();
        let output = output.expect("openssl cannot be run: scripts/setup installs it");
        assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// A new key for each certificate.
const KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";

/// A certs.d folder that has these files for `host`.
pub fn certificates(host: &str, files: &[(&Path, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join(host);
    fs::create_dir(&own).unwrap();
    for (from, name) in files {
        fs::copy(from, own.join(name)).unwrap();
    }
    folder
}
