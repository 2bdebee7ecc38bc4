//! HTTP over TLS, as a client sees it that nobody here wrote, and as strangers do.

use std::fs::Permissions;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ganger_http::limits::{HANDSHAKE_PATIENCE, HANDSHAKES_MAX};
use ganger_tests::cluster::Cluster;
use ganger_tests::python::plain;
use ganger_tests::scale::shared;
use ganger_tests::wait::eventually;
use tempfile::TempDir;

use crate::house::SOON;

/// The address that the certificate is for.
const CERTIFIED: &str = "127.0.0.1";

/// A broker with a certificate.
struct Encrypted {
    folder: TempDir,
    cluster: Cluster,
}

impl Encrypted {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        certify(folder.path());
        let file = |name: &str| folder.path().join(name).display().to_string();
        let (cert, key) = (file("cert.pem"), file("key.pem"));
        let cluster =
            Cluster::start_with_http_at(CERTIFIED, &["--http-tls-cert", &cert, "--http-tls-key", &key]);
        Self { folder, cluster }
    }

    fn at(&self) -> &str {
        self.cluster.endpoints().http.as_deref().unwrap()
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.at()).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream
    }

    /// Asks whether it is healthy, trusting the certificate in a file. The status, or what went wrong.
    fn health(&self, python: &Path, trusted: &str) -> String {
        let script = "import ssl, sys, urllib.request\n\
                      trust = ssl.create_default_context(cafile=sys.argv[2])\n\
                      url = 'https://' + sys.argv[1] + '/health'\n\
                      print(urllib.request.urlopen(url, context=trust, timeout=30).status)";
        let mut command = Command::new(python);
        command.args(["-c", script, self.at()]).arg(self.folder.path().join(trusted));
        let output = command.output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&said).trim().to_owned()
    }
}

/// Writes a certificate for this machine and its key into a folder.
fn certify(folder: &Path) {
    let made = rcgen::generate_simple_self_signed([CERTIFIED.to_owned()]).unwrap();
    std::fs::write(folder.join("cert.pem"), pem("CERTIFICATE", made.cert.der())).unwrap();
    let key = folder.join("key.pem");
    std::fs::write(&key, pem("PRIVATE KEY", &made.key_pair.serialize_der())).unwrap();
    std::fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
}

fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}

#[test]
fn whoever_trusts_the_certificate_is_served_and_whoever_does_not_is_not_fooled() {
    let _turn = shared();
    let Some(python) = plain() else { return };
    let broker = Encrypted::start();
    assert_eq!(broker.health(&python, "cert.pem"), "200");
    let other = tempfile::tempdir().unwrap();
    certify(other.path());
    std::fs::copy(other.path().join("cert.pem"), broker.folder.path().join("other.pem")).unwrap();
    let refused = broker.health(&python, "other.pem");
    assert!(refused.contains("CERTIFICATE_VERIFY_FAILED"), "{refused}");
}

#[test]
fn cleartext_gets_nothing_from_the_encrypted_port_and_harms_nothing() {
    let _turn = shared();
    let broker = Encrypted::start();
    for said in ["GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", "\0", "\u{16}\u{3}\u{1} no handshake"] {
        let mut stream = broker.connect();
        stream.write_all(said.as_bytes()).unwrap();
        // Of what is no record of TLS it hangs up without a word; of a wrong one it may say that it is wrong.
        let mut heard = Vec::new();
        let _ = stream.read_to_end(&mut heard);
        assert!(!String::from_utf8_lossy(&heard).contains("HTTP"), "{heard:?}");
        assert!(heard.is_empty() || said.starts_with('\u{16}'), "{said:?}: {heard:?}");
    }
    let Some(python) = plain() else { return };
    assert_eq!(broker.health(&python, "cert.pem"), "200");
}

#[test]
fn strangers_who_say_nothing_are_cut_and_keep_nobody_out() {
    let _turn = shared();
    let broker = Encrypted::start();
    let mut silent: Vec<TcpStream> = (0..HANDSHAKES_MAX + 64).map(|_| broker.connect()).collect();
    if let Some(python) = plain() {
        assert_eq!(broker.health(&python, "cert.pem"), "200");
    }
    let begun = std::time::Instant::now();
    for stream in &mut silent {
        assert_eq!(stream.read(&mut [0; 9]).unwrap_or(0), 0, "whoever says nothing hears nothing");
    }
    let slack = Duration::from_secs(10);
    assert!(begun.elapsed() < HANDSHAKE_PATIENCE + slack, "{:?}", begun.elapsed());
}

#[test]
fn a_renewed_certificate_is_shown_from_sighup_on() {
    let _turn = shared();
    let Some(python) = plain() else { return };
    let broker = Encrypted::start();
    let pid = broker.cluster.broker().pid().to_string();
    let reread = |says: &str| {
        assert!(Command::new("kill").args(["-HUP", &pid]).status().unwrap().success());
        eventually("it is read", SOON, || broker.cluster.broker().stderr().contains(says));
    };
    certify(broker.folder.path());
    let before = broker.health(&python, "cert.pem");
    assert!(before.contains("CERTIFICATE_VERIFY_FAILED"), "{before}");
    reread("the certificate was read again");
    assert_eq!(broker.health(&python, "cert.pem"), "200");
    std::fs::write(broker.folder.path().join("key.pem"), "nothing").unwrap();
    reread("the certificate stays as it was");
    assert_eq!(broker.health(&python, "cert.pem"), "200");
}
