use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use super::*;

/// A certificate and its key, in files of these names.
pub(crate) fn files(folder: &TempDir) -> (PathBuf, PathBuf) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&cert, pem("CERTIFICATE", made.cert.der())).unwrap();
    std::fs::write(&key, pem("PRIVATE KEY", &made.key_pair.serialize_der())).unwrap();
    std::fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
    (cert, key)
}

fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

#[test]
fn files_that_are_wrong_are_refused_by_name_and_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = files(&folder);
    let tls = Tls::load(&cert, &key).unwrap();
    let before = tls.inner.config.read().clone();
    let refused = |says: &str| {
        let error = tls.reload().unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    };
    std::fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
    refused("everybody can read");
    std::fs::set_permissions(&key, Permissions::from_mode(0o640)).unwrap();
    let good = std::fs::read(&cert).unwrap();
    std::fs::write(&cert, "nothing").unwrap();
    refused("no certificate");
    std::fs::remove_file(&cert).unwrap();
    refused("No such file");
    let stranger = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(&cert, pem("CERTIFICATE", stranger.cert.der())).unwrap();
    refused("key.pem");
    assert!(Arc::ptr_eq(&before, &tls.inner.config.read()));
    std::fs::write(&cert, good).unwrap();
    tls.reload().unwrap();
    assert!(!Arc::ptr_eq(&before, &tls.inner.config.read()));
}
