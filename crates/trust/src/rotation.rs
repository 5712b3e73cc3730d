//! The keys of a node while one set follows another: one file more, `pki/next`, whole or not there.
//!
//! ```text
//!   next (known)          own set: the files of the node     believed too: this one
//!   former (used)         own set: this one                  believed too: the files of the node
//!   own (ended)           own set: this one                  nothing else; it becomes the files
//! ```
//!
//! Each step is one renaming of that file, so that a node that is interrupted anywhere finds one of
//! the three. In the last one the files of the node are written again, each whole, and the file
//! goes: an interruption repeats that.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::SystemTime;

use ring::digest;
use ring::rand::{SecureRandom, SystemRandom};
use stead_model::keys::{Key, Keys, NewKeys, Other, Print};

use crate::credentials::certificates;
use crate::datagram::differ;
use crate::files::{PUBLIC, Pki, SECRET, failed, put, read, read_secret, sync};
use crate::identity::{read_bytes, read_hex};
use crate::{Authority, Credentials, Issued, Secret, TrustError, unusable};

/// What a node proves itself with, and what it believes.
#[derive(Debug)]
pub struct Loaded {
    /// For the core and for datagrams.
    pub keys: Keys,
    /// For TLS.
    pub credentials: Credentials,
}

/// How far a node is with a set that follows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Next,
    Former,
    Own,
}

impl Stage {
    const ALL: [(Self, &'static str); 3] =
        [(Self::Next, "next"), (Self::Former, "former"), (Self::Own, "own")];

    fn word(self) -> &'static str {
        Self::ALL.iter().find(|(stage, _)| *stage == self).map_or("", |(_, word)| word)
    }
}

/// The file.
struct Following {
    stage: Stage,
    new: NewKeys,
    /// The certificate of this node under the new authority.
    node: Issued,
}

const PREFIX: &str = "stead keys ";

impl Following {
    fn text(&self) -> Secret {
        let NewKeys { number, key, authority, authority_key, .. } = &self.new;
        let mut text = format!("{PREFIX}{number:016x} {}\n", self.stage.word());
        // Writing into a string never fails.
        let _ = key.iter().try_for_each(|byte| write!(text, "{byte:02x}"));
        let parts = [authority, authority_key, &self.node.certificate, self.node.key.reveal()];
        for part in parts {
            text.push('\n');
            text.push_str(part.trim());
        }
        text.push('\n');
        Secret::new(text)
    }

    /// What is wrong with it is said without quoting it.
    fn read(text: &Secret) -> Result<Self, TrustError> {
        let broken = || unusable("it is not what a rotation of the keys left there");
        let (head, rest) = text.reveal().split_once('\n').ok_or_else(broken)?;
        let (key, pem) = rest.split_once('\n').ok_or_else(broken)?;
        let told = head.strip_prefix(PREFIX).and_then(|told| told.split_once(' '));
        let (number, word) = told.ok_or_else(broken)?;
        let number = read_hex(number).ok_or_else(broken)?;
        let stage = Stage::ALL.iter().find(|(_, known)| *known == word).ok_or_else(broken)?.0;
        let key = read_bytes(key).ok_or_else(broken)?;
        let mut parts = pem.split("-----BEGIN ").skip(1).map(|part| format!("-----BEGIN {part}"));
        let is_whole =
            |part: &String| part.contains("-----END ") && part.trim_end().ends_with("-----");
        let mut part = || parts.next().filter(is_whole).ok_or_else(broken);
        let (authority, authority_key) = (part()?, part()?);
        let node = Issued { certificate: part()?, key: Secret::new(part()?) };
        let print = print(&key, &authority)?;
        let new = NewKeys { number, print, key, authority, authority_key };
        Ok(Self { stage, new, node })
    }
}

/// What a set of keys is named by.
fn print(key: &[u8; 32], authority: &str) -> Result<Print, TrustError> {
    let certificate = certificates(authority)?;
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(b"stead keys v1");
    context.update(key);
    context.update(&certificate[0]);
    let mut print = [0; 32];
    print.copy_from_slice(context.finish().as_ref());
    Ok(Print(print))
}

impl Pki {
    /// The cluster key.
    #[must_use]
    pub fn cluster_key_file(&self) -> PathBuf {
        self.beside("cluster.key")
    }

    /// The set that follows, or that others have gone before.
    #[must_use]
    pub fn following_file(&self) -> PathBuf {
        self.within("next")
    }

    /// Everything that this node goes by now.
    ///
    /// # Errors
    /// A file is missing, may be read by others, or holds something else.
    pub fn load(&self) -> Result<Loaded, TrustError> {
        let following = self.following()?;
        let credentials = self.credentials_with(following.as_ref())?;
        let Some(Following { stage, new, .. }) = following else {
            return Ok(Loaded { keys: Keys::only(self.own_key()?), credentials });
        };
        let (next, number) = (Key { print: new.print, bytes: new.key }, new.number);
        let (own, other, new) = match stage {
            Stage::Next => (self.own_key()?, Other::Next(number, next), Some(new)),
            Stage::Former => (next, Other::Former(number, self.own_key()?), Some(new)),
            Stage::Own => (next, Other::None, None),
        };
        Ok(Loaded { keys: Keys { own, other, new }, credentials })
    }

    /// What the node proves itself with.
    ///
    /// # Errors
    /// A file is missing, may be read by others, or holds something else.
    pub fn credentials(&self) -> Result<Credentials, TrustError> {
        self.credentials_with(self.following()?.as_ref())
    }

    fn credentials_with(&self, following: Option<&Following>) -> Result<Credentials, TrustError> {
        let Some(Following { stage, new, node }) = following else { return self.written() };
        let made = match stage {
            Stage::Next => {
                let (key, certificate) =
                    (read_secret(&self.node_key_file())?, read(&self.node_file())?);
                let both = [self.written_authorities()?, new.authority.clone()].concat();
                Credentials::from_pem(&both, &certificate, &key)
            }
            Stage::Former => {
                let both = [new.authority.clone(), self.written_authorities()?].concat();
                Credentials::from_pem(&both, &node.certificate, &node.key)
            }
            Stage::Own => Credentials::from_pem(&new.authority, &node.certificate, &node.key),
        };
        made.map_err(|error| error.found_in(&self.following_file()))
    }

    /// Makes a set that follows the one of this cluster, and keeps it as the next one.
    ///
    /// # Errors
    /// The system refuses random numbers or the file, or there is such a set already.
    pub fn make_next(&self, number: u64, now: SystemTime) -> Result<(), TrustError> {
        if let Some(kept) = self.following()? {
            return self.is_there(&kept, number);
        }
        let own = self.authority()?;
        let (own_key, mut key) = (self.own_bytes()?, [0; 32]);
        loop {
            let drawn = SystemRandom::new().fill(&mut key);
            drawn.map_err(|_| unusable("the system gives no random numbers"))?;
            if differ(&own_key, &key) {
                break;
            }
        }
        let made = Authority::create(own.cluster_id(), now)?;
        let (authority, authority_key) =
            (made.certificate_pem().to_owned(), made.key_pem().reveal().to_owned());
        let print = print(&key, &authority)?;
        self.keep_next(&NewKeys { number, print, key, authority, authority_key }, now)
    }

    fn is_there(&self, kept: &Following, number: u64) -> Result<(), TrustError> {
        if kept.new.number == number {
            return Ok(());
        }
        Err(unusable("it is of another rotation").found_in(&self.following_file()))
    }

    /// Keeps a set as the next one, with a certificate of this node under it.
    ///
    /// # Errors
    /// It is not what it is named by, or not one of this cluster; the system refuses the file, or
    /// would refuse to replace the present ones.
    pub fn keep_next(&self, new: &NewKeys, now: SystemTime) -> Result<(), TrustError> {
        if let Some(kept) = self.following()? {
            return self.is_there(&kept, new.number);
        }
        if print(&new.key, &new.authority)? != new.print {
            return Err(unusable("the new keys are not those that the log names"));
        }
        let key = Secret::new(new.authority_key.clone());
        let authority = Authority::from_pem(&new.authority, &key)?;
        let node = self.credentials()?.identity();
        if authority.cluster_id() != node.cluster_id {
            return Err(unusable("the new authority is one of another cluster"));
        }
        self.may_be_replaced()?;
        let node = authority.issue(node.node, now)?;
        self.write(&Following { stage: Stage::Next, new: new.clone(), node })
    }

    /// Seals and signs with the next set from now on.
    ///
    /// # Errors
    /// There is none of that name, or the system refuses the file.
    pub fn use_next(&self, print: Print) -> Result<(), TrustError> {
        let mut following = self.named(print)?;
        if following.stage == Stage::Next {
            following.stage = Stage::Former;
            self.write(&following)?;
        }
        Ok(())
    }

    /// Believes nothing but the set that it uses; the files of the node become those of that set.
    ///
    /// # Errors
    /// It does not use a set of that name, or the system refuses a file.
    pub fn end_former(&self, print: Print) -> Result<(), TrustError> {
        if self.following()?.is_none() && self.own_key()?.print == print {
            return Ok(());
        }
        let mut following = self.named(print)?;
        if following.stage == Stage::Next {
            return Err(unusable("it is not used yet").found_in(&self.following_file()));
        }
        following.stage = Stage::Own;
        self.write(&following)?;
        self.settle()
    }

    /// Goes on where an interruption left the end of a rotation.
    ///
    /// # Errors
    /// The system refuses a file; it goes on with the next call.
    pub fn settle(&self) -> Result<(), TrustError> {
        let following = self.following()?.filter(|following| following.stage == Stage::Own);
        let Some(Following { new, node, .. }) = following else { return Ok(()) };
        put(&self.cluster_key_file(), &new.key, SECRET)?;
        put(&self.authority_key_file(), new.authority_key.as_bytes(), SECRET)?;
        put(&self.authority_file(), new.authority.as_bytes(), PUBLIC)?;
        put(&self.node_key_file(), node.key.reveal().as_bytes(), SECRET)?;
        put(&self.node_file(), node.certificate.as_bytes(), PUBLIC)?;
        self.sync_all()?;
        self.remove_following()
    }

    /// Forgets the next set of a rotation that was abandoned.
    ///
    /// # Errors
    /// It is used already, or the system refuses to remove it.
    pub fn forget_next(&self, number: u64) -> Result<(), TrustError> {
        match self.following()? {
            None => Ok(()),
            Some(kept) if kept.new.number != number => Ok(()),
            Some(kept) if kept.stage == Stage::Next => self.remove_following(),
            Some(_) => Err(unusable("it is used already").found_in(&self.following_file())),
        }
    }

    /// The set that follows and the authority of it, where this node signs with that.
    pub(crate) fn signs_with_following(&self) -> Result<Option<NewKeys>, TrustError> {
        let following = self.following()?.filter(|following| following.stage != Stage::Next);
        Ok(following.map(|following| following.new))
    }

    /// The cluster keys that this node believes, its own first.
    ///
    /// # Errors
    /// A file is missing, may be read by others, or holds something else.
    pub fn cluster_keys(&self) -> Result<Vec<[u8; 32]>, TrustError> {
        let following = self.following()?;
        Ok(match following.map(|following| (following.stage, following.new.key)) {
            None => vec![self.own_bytes()?],
            Some((Stage::Next, key)) => vec![self.own_bytes()?, key],
            Some((Stage::Former, key)) => vec![key, self.own_bytes()?],
            Some((Stage::Own, key)) => vec![key],
        })
    }

    fn own_key(&self) -> Result<Key, TrustError> {
        let bytes = self.own_bytes()?;
        let print = print(&bytes, &self.written_authorities()?);
        Ok(Key { print: print.map_err(|e| e.found_in(&self.authority_file()))?, bytes })
    }

    fn own_bytes(&self) -> Result<[u8; 32], TrustError> {
        let path = self.cluster_key_file();
        let bytes = read_secret_bytes(&path)?.try_into();
        bytes.map_err(|_| unusable("it has not 32 bytes").found_in(&path))
    }

    fn named(&self, print: Print) -> Result<Following, TrustError> {
        let following = self.following()?.filter(|following| following.new.print == print);
        following.ok_or_else(|| {
            unusable("it does not hold the keys that the log names")
                .found_in(&self.following_file())
        })
    }

    fn following(&self) -> Result<Option<Following>, TrustError> {
        let path = self.following_file();
        match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("read", &path)(error)),
            Ok(_) => {}
        }
        let read = Following::read(&read_secret(&path)?);
        read.map(Some).map_err(|error| error.found_in(&path))
    }

    fn write(&self, following: &Following) -> Result<(), TrustError> {
        let path = self.following_file();
        put(&path, following.text().reveal().as_bytes(), SECRET)?;
        sync(&path)
    }

    pub(crate) fn remove_following(&self) -> Result<(), TrustError> {
        let path = self.following_file();
        fs::remove_file(&path).map_err(failed("remove", &path))?;
        sync(&path)
    }

    fn sync_all(&self) -> Result<(), TrustError> {
        sync(&self.cluster_key_file())?;
        sync(&self.node_file())
    }

    /// Replaces each file by itself: what the system refuses is found before it matters.
    fn may_be_replaced(&self) -> Result<(), TrustError> {
        let secrets = [self.cluster_key_file(), self.authority_key_file(), self.node_key_file()];
        for path in secrets {
            put(&path, &read_secret_bytes(&path)?, SECRET)?;
        }
        for path in [self.authority_file(), self.node_file()] {
            put(&path, read(&path)?.as_bytes(), PUBLIC)?;
        }
        self.sync_all()
    }
}

fn read_secret_bytes(path: &std::path::Path) -> Result<Vec<u8>, TrustError> {
    crate::files::check_mode(path)?;
    fs::read(path).map_err(failed("read", path))
}

#[cfg(test)]
mod tests;
