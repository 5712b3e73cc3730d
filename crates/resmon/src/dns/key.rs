//! The key of DNS updates: a file as `tsig-keygen` writes it and `nsupdate -k` reads it.
//!
//! ```text
//! key "clus" { algorithm hmac-sha256; secret "qN0…="; };
//! ```
//!
//! A file that everybody on the node may read or write is refused. The secret is never shown.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use hmac::{Hmac, Mac};
use sha2::{Sha256, Sha384, Sha512};

use super::Name;

/// A key file has a few lines.
const FILE_BYTES_MAX: u64 = 64 << 10;
/// Read or written by everybody.
const FOR_ALL: u32 = 0o006;

/// A key with its name.
pub(crate) struct Key {
    pub(crate) name: Name,
    pub(crate) algorithm: Algorithm,
    secret: Vec<u8>,
}

/// How messages are signed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Algorithm {
    Sha256,
    Sha384,
    Sha512,
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    /// The file.
    #[error("key file `{path}` cannot be read: {why}", path = .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        why: io::Error,
    },
    /// Its permissions.
    #[error(
        "key file `{path}` is open to everybody (mode {mode:03o}): `chmod 600` it and make another \
         key, for this one may be known",
        path = .path.display()
    )]
    Open {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// What it says.
    #[error("key file `{path}` {what}", path = .path.display())]
    Senseless {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}

impl Key {
    /// Reads a key file.
    ///
    /// # Errors
    /// Names the file and what is wrong with it.
    pub(crate) fn read(path: &Path) -> Result<Self, KeyError> {
        let unreadable = |why| KeyError::Unreadable { path: path.to_owned(), why };
        let file = File::open(path).map_err(unreadable)?;
        let mode = file.metadata().map_err(unreadable)?.permissions().mode() & 0o777;
        if mode & FOR_ALL != 0 {
            return Err(KeyError::Open { path: path.to_owned(), mode });
        }
        let mut text = String::new();
        file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(unreadable)?;
        let senseless = |what| KeyError::Senseless { path: path.to_owned(), what };
        Self::parse(&text).map_err(senseless)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let words = words(text)?;
        let mut words = words.iter().map(String::as_str);
        if words.next() != Some("key") {
            return Err("does not begin with `key`, as files of `tsig-keygen` do".into());
        }
        let name = words.next().unwrap_or_default();
        let wrong_name = || format!("names a key `{}`, which is no name", name.escape_debug());
        let name = Name::from_str(name).map_err(|_| wrong_name())?;
        let (mut algorithm, mut secret) = (None, None);
        if words.next() != Some("{") {
            return Err("has no `{` behind the name of its key".into());
        }
        loop {
            match (words.next(), words.next(), words.next()) {
                (Some("algorithm"), Some(word), Some(";")) => algorithm = Some(word.parse()?),
                (Some("secret"), Some(word), Some(";")) => secret = Some(decoded(word)?),
                (Some("}"), Some(";"), None) => break,
                (Some("}"), Some(";"), Some(_)) => return Err("has more than one key".into()),
                // What is there might be the secret: it is not shown.
                _ => return Err("is not `key NAME { algorithm …; secret …; };`".into()),
            }
        }
        Ok(Self {
            name,
            algorithm: algorithm.ok_or("names no `algorithm`")?,
            secret: secret.ok_or("has no `secret`")?,
        })
    }

    /// The code of some bytes under this key.
    pub(crate) fn code(&self, parts: &[&[u8]]) -> Vec<u8> {
        fn of<M: Mac>(mac: Result<M, hmac::digest::InvalidLength>, parts: &[&[u8]]) -> Vec<u8> {
            let mut mac = mac.expect("a secret of any length will do");
            parts.iter().for_each(|part| mac.update(part));
            mac.finalize().into_bytes().to_vec()
        }
        match self.algorithm {
            Algorithm::Sha256 => of(Hmac::<Sha256>::new_from_slice(&self.secret), parts),
            Algorithm::Sha384 => of(Hmac::<Sha384>::new_from_slice(&self.secret), parts),
            Algorithm::Sha512 => of(Hmac::<Sha512>::new_from_slice(&self.secret), parts),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({} {:?})", self.name, self.algorithm)
    }
}

impl Algorithm {
    /// Its name as servers know it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "hmac-sha256",
            Self::Sha384 => "hmac-sha384",
            Self::Sha512 => "hmac-sha512",
        }
    }
}

impl FromStr for Algorithm {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let all = [Self::Sha256, Self::Sha384, Self::Sha512];
        let found = all.into_iter().find(|one| one.name().eq_ignore_ascii_case(word));
        found.ok_or_else(|| {
            let word = word.escape_debug();
            format!("wants `{word}`; known are hmac-sha256, hmac-sha384 and hmac-sha512")
        })
    }
}

/// The words of such a file: names, texts in quotes without them, and `{`, `}`, `;` alone.
fn words(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        rest = if rest.starts_with('#') || rest.starts_with("//") {
            rest.split_once('\n').map_or("", |(_, after)| after)
        } else if let Some(comment) = rest.strip_prefix("/*") {
            comment.split_once("*/").map(|(_, after)| after).ok_or("has an open comment")?
        } else if let Some(quoted) = rest.strip_prefix('"') {
            let (word, after) = quoted.split_once('"').ok_or("has an open quote")?;
            words.push(word.to_owned());
            after
        } else if ['{', '}', ';'].contains(&first) {
            words.push(first.to_string());
            &rest[1..]
        } else {
            let is_end = |c: char| c.is_whitespace() || ['{', '}', ';', '"'].contains(&c);
            let (word, after) = rest.split_at(rest.find(is_end).unwrap_or(rest.len()));
            words.push(word.to_owned());
            after
        };
        rest = rest.trim_start();
    }
    Ok(words)
}

/// Bytes written in base64 (RFC 4648).
fn decoded(text: &str) -> Result<Vec<u8>, String> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let wrong = || "has a `secret` that is not base64".to_owned();
    let plain = text.trim_end_matches('=');
    let padded = text.len() - plain.len();
    if plain.is_empty() || !text.len().is_multiple_of(4) || padded > 2 {
        return Err(wrong());
    }
    let (mut bytes, mut bits, mut held) = (Vec::new(), 0_u32, 0_u32);
    for digit in plain.bytes() {
        let value = DIGITS.iter().position(|d| *d == digit).ok_or_else(wrong)?;
        held = held << 6 | u32::try_from(value).map_err(|_| wrong())?;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits) as u8);
            held &= (1 << bits) - 1;
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# made by hand\nkey \"clus\" {\n\talgorithm hmac-sha256; // the usual\n\
                        \tsecret \"a2V5IG9mIHRoZSBjbHVzdGVy\";\n};\n";

    #[test]
    fn a_file_of_tsig_keygen_is_read() {
        let key = Key::parse(FILE).unwrap();
        assert_eq!((key.name.to_string().as_str(), key.algorithm), ("clus", Algorithm::Sha256));
        assert_eq!(key.secret, b"key of the cluster");
        assert_eq!(format!("{key:?}"), "Key(clus Sha256)", "the secret is not shown");
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said_without_its_secret() {
        let cases = [
            ("", "does not begin with `key`"),
            ("key clus;", "has no `{`"),
            (&FILE.replace("sha256", "md5"), "wants `hmac-md5`"),
            (&FILE.replace("algorithm hmac-sha256;", ""), "names no `algorithm`"),
            (&FILE.replace("a2V5", "a2V"), "a `secret` that is not base64"),
            (&FILE.replace("};", ""), "is not `key NAME {"),
            (&FILE.replace("Vy\";", "Vy;"), "has an open quote"),
            (&FILE.repeat(2), "has more than one key"),
        ];
        for (text, says) in cases {
            let why = Key::parse(text).unwrap_err();
            assert!(why.contains(says) && !why.contains("a2V"), "{why}");
        }
    }

    #[test]
    fn a_file_that_everybody_may_read_is_refused() {
        use std::os::unix::fs::OpenOptionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("clus.key");
        assert!(matches!(Key::read(&path), Err(KeyError::Unreadable { .. })));
        let open = File::options().write(true).create_new(true).mode(0o600).open(&path);
        io::Write::write_all(&mut open.unwrap(), FILE.as_bytes()).unwrap();
        Key::read(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let why = Key::read(&path).unwrap_err().to_string();
        assert!(why.contains("mode 644") && why.contains("chmod 600"), "{why}");
    }

    /// RFC 4231, test cases 1 and 2.
    #[test]
    fn codes_are_those_of_the_standard() {
        let key = |secret: &[u8], algorithm| Key {
            name: Name::from_str("k").unwrap(),
            algorithm,
            secret: secret.to_vec(),
        };
        let hex = |bytes: Vec<u8>| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        let code = key(&[0x0b; 20], Algorithm::Sha256).code(&[b"Hi ", b"There"]);
        assert_eq!(hex(code), "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
        let code = key(b"Jefe", Algorithm::Sha512).code(&[b"what do ya want for nothing?"]);
        assert!(
            hex(code).starts_with("164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea25")
        );
    }
}
