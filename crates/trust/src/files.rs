//! Where a node keeps its certificates: `ca.pem`, `ca.key`, `node.pem`, `node.key` in one folder.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::{Authority, Credentials, Issued, Secret, TrustError, unusable};

/// Larger than any of the files.
const FILE_BYTES_MAX: u64 = 64 << 10;
/// Who may read a file.
pub(crate) const PUBLIC: u32 = 0o644;
pub(crate) const SECRET: u32 = 0o600;

/// The folder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pki {
    folder: PathBuf,
}

impl Pki {
    /// In the folder of a node's configuration, as in `/etc/stead`.
    #[must_use]
    pub fn below(etc: &Path) -> Self {
        Self { folder: etc.join("pki") }
    }

    /// Certificates of the authorities that count, in PEM; the first one signs.
    #[must_use]
    pub fn authority_file(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// Key of the authority.
    #[must_use]
    pub fn authority_key_file(&self) -> PathBuf {
        self.folder.join("ca.key")
    }

    /// Certificate of the node.
    #[must_use]
    pub fn node_file(&self) -> PathBuf {
        self.folder.join("node.pem")
    }

    /// Key of the node.
    #[must_use]
    pub fn node_key_file(&self) -> PathBuf {
        self.folder.join("node.key")
    }

    /// Writes all four files, each whole or not at all; a set that followed those of before is
    /// removed first. Safe to repeat after an interruption.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn install(&self, authority: &Authority, node: &Issued) -> Result<(), TrustError> {
        let folder = &self.folder;
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(failed("make", folder))?;
        if self.following_file().exists() {
            self.remove_following()?;
        }
        let (key, certificate) = (authority.key_pem(), authority.certificate_pem());
        put(&self.authority_key_file(), key.reveal().as_bytes(), SECRET)?;
        put(&self.authority_file(), certificate.as_bytes(), PUBLIC)?;
        put(&self.node_key_file(), node.key.reveal().as_bytes(), SECRET)?;
        put(&self.node_file(), node.certificate.as_bytes(), PUBLIC)?;
        File::open(folder).and_then(|f| f.sync_all()).map_err(failed("sync", folder))
    }

    /// The authority that signs, to admit a node.
    ///
    /// # Errors
    /// A file is missing, may be read by others, or holds something else.
    pub fn authority(&self) -> Result<Authority, TrustError> {
        if let Some(new) = self.signs_with_following()? {
            let made = Authority::from_pem(&new.authority, &Secret::new(new.authority_key));
            return made.map_err(|error| error.found_in(&self.following_file()));
        }
        let path = self.authority_file();
        let (certificate, key) = (read(&path)?, read_secret(&self.authority_key_file())?);
        Authority::from_pem(&certificate, &key).map_err(|error| error.found_in(&path))
    }

    /// Certificate of the authority that signs.
    ///
    /// # Errors
    /// The file is missing.
    pub fn authorities(&self) -> Result<String, TrustError> {
        match self.signs_with_following()? {
            Some(new) => Ok(new.authority),
            None => self.written_authorities(),
        }
    }

    pub(crate) fn written_authorities(&self) -> Result<String, TrustError> {
        read(&self.authority_file())
    }

    pub(crate) fn within(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.folder.with_file_name(name)
    }

    /// What the files of the node say, whatever follows them.
    pub(crate) fn written(&self) -> Result<Credentials, TrustError> {
        let path = self.node_file();
        let (authorities, certificate) = (read(&self.authority_file())?, read(&path)?);
        let key = read_secret(&self.node_key_file())?;
        let made = Credentials::from_pem(&authorities, &certificate, &key);
        made.map_err(|error| error.found_in(&path))
    }
}

pub(crate) fn read_secret(path: &Path) -> Result<Secret, TrustError> {
    check_mode(path)?;
    Ok(Secret::new(read(path)?))
}

/// Refuses a secret that others may read.
pub(crate) fn check_mode(path: &Path) -> Result<(), TrustError> {
    let mode = fs::metadata(path).map_err(failed("read", path))?.mode() & 0o7777;
    if mode & 0o077 == 0 { Ok(()) } else { Err(TrustError::Mode { path: path.to_owned(), mode }) }
}

pub(crate) fn read(path: &Path) -> Result<String, TrustError> {
    let mut text = String::new();
    let file = File::open(path).map_err(failed("read", path))?;
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(failed("read", path))?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(unusable("it is too long").found_in(path));
    }
    Ok(text)
}

/// Writes beside the place and moves: who reads finds the old text or the new one.
pub(crate) fn put(path: &Path, bytes: &[u8], mode: u32) -> Result<(), TrustError> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    // What an interruption left may have other permissions.
    match fs::remove_file(&new) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed("remove", &new)(error)),
    }
    let opened = OpenOptions::new().write(true).create_new(true).mode(mode).open(&new);
    let mut file = opened.map_err(failed("make", &new))?;
    file.write_all(bytes).map_err(failed("write", &new))?;
    file.sync_all().map_err(failed("sync", &new))?;
    fs::rename(&new, path).map_err(failed("make", path))
}

/// Makes durable what happened to a name in its folder.
pub(crate) fn sync(path: &Path) -> Result<(), TrustError> {
    let folder = path.parent().unwrap_or_else(|| Path::new("/"));
    File::open(folder).and_then(|f| f.sync_all()).map_err(failed("sync", folder))
}

pub(crate) fn failed(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> TrustError {
    move |source| TrustError::Io { verb, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::time::SystemTime;
    use stead_model::NodeId;

    fn text(error: &TrustError) -> String {
        format!("{error} | {}", error.hint().unwrap_or_default())
    }

    #[test]
    fn what_is_installed_comes_back_and_may_be_installed_again() {
        let etc = tempfile::tempdir().unwrap();
        let pki = Pki::below(etc.path());
        let told = text(&pki.credentials().unwrap_err());
        assert!(told.contains("ca.pem") && told.contains("cluster create"), "{told}");
        for _ in 0..2 {
            let authority = Authority::create(9, SystemTime::now()).unwrap();
            let node = authority.issue(NodeId(3), SystemTime::now()).unwrap();
            fs::create_dir_all(pki.node_key_file().parent().unwrap()).unwrap();
            fs::write(pki.node_key_file().with_extension("key.new"), "left").unwrap();
            pki.install(&authority, &node).unwrap();
            assert_eq!(pki.authority().unwrap().fingerprint(), authority.fingerprint());
            assert_eq!(pki.credentials().unwrap().identity().node, NodeId(3));
        }
        for key in [pki.authority_key_file(), pki.node_key_file()] {
            assert_eq!(fs::metadata(key).unwrap().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn keys_that_others_can_read_and_files_that_do_not_fit_are_refused() {
        let etc = tempfile::tempdir().unwrap();
        let pki = Pki::below(etc.path());
        let authority = Authority::create(9, SystemTime::now()).unwrap();
        pki.install(&authority, &authority.issue(NodeId(3), SystemTime::now()).unwrap()).unwrap();
        for key in [pki.authority_key_file(), pki.node_key_file()] {
            fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
        }
        let told = text(&pki.credentials().unwrap_err());
        assert!(told.contains("mode 640") && told.contains("chmod 0600"), "{told}");
        let told = text(&pki.authority().unwrap_err());
        assert!(told.contains("ca.key") && told.contains("chmod 0600"), "{told}");
        for key in [pki.authority_key_file(), pki.node_key_file()] {
            fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        }
        let other = authority.issue(NodeId(3), SystemTime::now()).unwrap();
        fs::write(pki.node_file(), other.certificate).unwrap();
        let told = text(&pki.credentials().unwrap_err());
        assert!(told.contains("node.pem") && told.contains("cannot be used"), "{told}");
        let stranger = Authority::create(8, SystemTime::now()).unwrap();
        fs::write(pki.authority_file(), stranger.certificate_pem()).unwrap();
        assert!(text(&pki.credentials().unwrap_err()).contains("different clusters"));
    }
}
