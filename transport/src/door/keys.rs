//! Keys of CURVE, and the files that they live in.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use omq_proto::{CurveKeypair, CurvePublicKey, CurveSecretKey};
use zeroize::Zeroizing;

/// No file with one key is longer; more is another file.
const FILE_BYTES_MAX: u64 = 16 << 10;
/// Characters of a key as text, in the alphabet of ZeroMQ (Z85).
const KEY_CHARS: usize = 40;

/// The half of a key that everybody may know. Written and read as 40 characters (Z85).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicKey([u8; 32]);

/// The half of a key that proves who somebody is. Overwritten in memory when it is dropped; never shown.
#[derive(Clone)]
pub struct SecretKey(CurveSecretKey);

/// Why a key was not taken. Nothing but another text or file helps, but for [`KeyError::Io`].
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The text is no key.
    #[error("a key is {KEY_CHARS} characters (Z85); this is none")]
    NotAKey,
    /// The file holds no secret key.
    #[error("{}: there is no line secret-key = \"...\" in it", path.display())]
    NoSecret {
        /// Which file.
        path: PathBuf,
    },
    /// The two halves in the file do not belong together.
    #[error("{}: the public key does not belong to the secret key", path.display())]
    Mismatch {
        /// Which file.
        path: PathBuf,
    },
    /// Others than its owner can read the file.
    #[error("{}: others can read this secret key (mode {mode:03o}); run: chmod 600 {}", path.display(), path.display())]
    Exposed {
        /// Which file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl PublicKey {
    /// A key from its 32 bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        match text.len() == KEY_CHARS && text.is_ascii() {
            true => CurvePublicKey::from_z85(text).map(|key| Self(key.0)).map_err(|_| KeyError::NotAKey),
            false => Err(KeyError::NotAKey),
        }
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&CurvePublicKey(self.0).to_z85())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl SecretKey {
    /// A new key, from the system's source of randomness.
    pub fn generate() -> Self {
        Self(CurveKeypair::generate().secret)
    }

    /// The half that everybody may know.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.derive_public().0)
    }

    pub(super) fn pair(&self) -> CurveKeypair {
        CurveKeypair { public: self.0.derive_public(), secret: self.0.clone() }
    }

    /// Reads a key from a file, as [`SecretKey::save`] and the tools of ZeroMQ write it.
    ///
    /// # Errors
    /// When the file cannot be read, others can read it, or there is no key in it. What is in the file is in
    /// none of the errors.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let io = |source| KeyError::Io { path: path.to_owned(), source };
        let mut file = File::open(path).map_err(io)?;
        let found = file.metadata().map_err(io)?;
        let mode = found.mode() & 0o7777;
        if found.is_file() && mode & 0o077 != 0 {
            return Err(KeyError::Exposed { path: path.to_owned(), mode });
        }
        // All the room at once: a buffer that grows leaves copies behind.
        let mut text = Zeroizing::new(Vec::with_capacity(FILE_BYTES_MAX as usize));
        (&mut file).take(FILE_BYTES_MAX).read_to_end(&mut text).map_err(io)?;
        let none = || KeyError::NoSecret { path: path.to_owned() };
        let text = std::str::from_utf8(&text).map_err(|_| none())?;
        let secret = value(text, "secret-key").ok_or_else(none)?;
        let secret = CurveSecretKey::from_z85(secret).map(Self).map_err(|_| none())?;
        match value(text, "public-key").map(str::parse::<PublicKey>) {
            Some(Ok(public)) if public == secret.public() => Ok(secret),
            None => Ok(secret),
            Some(_) => Err(KeyError::Mismatch { path: path.to_owned() }),
        }
    }

    /// Writes the key into a new file that only its owner can read. A file that is there is never replaced.
    ///
    /// # Errors
    /// When there is such a file, or it cannot be written.
    pub fn save(&self, path: &Path, name: &str) -> Result<(), KeyError> {
        let io = |source| KeyError::Io { path: path.to_owned(), source };
        let secret = Zeroizing::new(self.0.to_z85());
        let name: String = name.chars().filter(|c| !c.is_control()).collect();
        let text = Zeroizing::new(format!(
            "# The secret key of {name}. Whoever has it is {name}: never send it to anybody.\n\
             # Others need only the public key.\n\
             metadata\n\
             curve\n    public-key = \"{}\"\n    secret-key = \"{}\"\n",
            self.public(),
            &*secret,
        ));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(io)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(io)
    }
}

/// The value of a line `name = "value"`.
fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let rest = line.trim().strip_prefix(name)?.trim_start().strip_prefix('=')?;
        rest.trim().strip_prefix('"')?.strip_suffix('"')
    })
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey(of {})", self.public())
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_written_for_its_owner_alone_and_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("alice.key");
        let key = SecretKey::generate();
        key.save(&path, "alice\nmallory").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(SecretKey::load(&path).unwrap().public(), key.public());
        assert!(matches!(key.save(&path, "alice"), Err(KeyError::Io { .. })), "never replaced");
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("k");
        SecretKey::generate().save(&path, "k").unwrap();
        for mode in [0o640, 0o604, 0o620, 0o601] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let error = SecretKey::load(&path).unwrap_err();
            assert!(matches!(error, KeyError::Exposed { .. }) && error.to_string().contains("chmod 600"));
        }
    }

    #[test]
    fn no_error_and_no_debug_shows_a_secret() {
        let folder = tempfile::tempdir().unwrap();
        let (key, other) = (SecretKey::generate(), SecretKey::generate());
        let secret = key.0.to_z85();
        let path = folder.path().join("k");
        key.save(&path, "k").unwrap();
        let good = fs::read_to_string(&path).unwrap();
        assert!(good.contains(&secret), "the file does hold it");
        assert!(!format!("{key:?}").contains(&secret));
        for bad in [
            good.replace(&key.public().to_string(), &other.public().to_string()),
            good.replace("secret-key", "secret"),
            good.replace(&secret, &secret[1..]),
            good.replace(&secret, &format!("{secret}{secret}")),
            format!("secret-key = \"{secret}"),
            secret.clone(),
        ] {
            fs::write(&path, bad).unwrap();
            let error = SecretKey::load(&path).unwrap_err();
            assert!(!format!("{error} {error:?}").contains(&secret[1..]), "{error}");
        }
    }

    #[test]
    fn only_forty_characters_of_the_alphabet_are_a_public_key() {
        let key = SecretKey::generate().public();
        assert_eq!(key.to_string().parse::<PublicKey>().unwrap(), key);
        let text = key.to_string();
        for bad in ["", "x", &text[1..], &format!("{text}a"), &text.replace(&text[..1], " "), &"é".repeat(20)]
        {
            assert!(bad.parse::<PublicKey>().is_err(), "{bad}");
        }
    }
}
