//! The file that stands for `/etc/hosts` before the programs of a virtual server.
//!
//! Its first lines are the virtual name with its addresses, then follows what the node's own file
//! has, without other lines for that name. Programs have it mounted, so it is written in place: a
//! file put in its stead would not be the one they see.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use stead_model::server::VirtualServer;

/// Where such files are.
const FOLDER: &str = "run/stead/servers";
/// The node's own, below the root.
const NODE: &str = "etc/hosts";
/// More than this of the node's own file is not taken over.
const NODE_BYTES_MAX: usize = 4 << 20;

/// Where the file of a virtual server is.
pub(in crate::types) fn path(root: &Path, name: &str) -> PathBuf {
    root.join(FOLDER).join(format!("{name}.hosts"))
}

/// Writes the file anew, if it would change.
///
/// # Errors
/// It cannot be written.
pub(super) fn write(root: &Path, server: &VirtualServer) -> io::Result<()> {
    let path = path(root, server.name.as_deref().unwrap_or_default());
    let mut node = fs::read(root.join(NODE)).unwrap_or_default();
    node.truncate(NODE_BYTES_MAX);
    let text = view(server, &String::from_utf8_lossy(&node));
    if fs::read(&path).is_ok_and(|present| present == text.as_bytes()) {
        return Ok(());
    }
    fs::create_dir_all(root.join(FOLDER))?;
    let file = File::options().write(true).create(true).truncate(false).mode(0o644).open(path)?;
    // One write: whoever reads meanwhile finds the old or the new lines for the name, which come
    // first.
    file.write_all_at(text.as_bytes(), 0)?;
    file.set_len(text.len() as u64)
}

/// Removes the file; programs that have it mounted keep it.
pub(super) fn remove(root: &Path, name: &str) {
    // Where it stays it says nothing to anybody.
    drop(fs::remove_file(path(root, name)));
}

fn view(server: &VirtualServer, node: &str) -> String {
    let name = server.name.clone().unwrap_or_default();
    let full = server.full_name().unwrap_or_default();
    let names = if full == name { name.clone() } else { format!("{full} {name}") };
    let mut text = format!("# The virtual server {name}, by stead; then the node's own file.\n");
    for address in &server.addresses {
        text.push_str(&format!("{address} {names}\n"));
    }
    for line in node.lines() {
        text.extend(
            without(line, &[&name, &full]).into_iter().flat_map(|line| [line, "\n".into()]),
        );
    }
    text
}

/// A line of the node's file without these names; `None` where nothing else is left of it.
fn without(line: &str, names: &[&str]) -> Option<String> {
    let is_one = |word: &str| names.iter().any(|name| name.eq_ignore_ascii_case(word));
    let plain = line.split('#').next().unwrap_or_default();
    let mut words = plain.split_whitespace();
    let (Some(address), others) = (words.next(), words) else { return Some(line.to_owned()) };
    if !others.clone().any(is_one) {
        return Some(line.to_owned());
    }
    let kept: Vec<&str> = others.filter(|word| !is_one(word)).collect();
    (!kept.is_empty()).then(|| format!("{address} {}", kept.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> VirtualServer {
        VirtualServer {
            name: Some("Web".into()),
            domain: Some("example.org".into()),
            addresses: vec!["10.0.0.25".parse().unwrap(), "fd00::25".parse().unwrap()],
        }
    }

    #[test]
    fn the_virtual_name_comes_first_and_nowhere_else() {
        let node = "127.0.0.1 localhost\n# web stays in a comment\n\n10.0.0.1 n1 web # both\n\
                    10.0.0.9 WEB.example.org\n";
        assert_eq!(
            view(&server(), node),
            "# The virtual server Web, by stead; then the node's own file.\n\
             10.0.0.25 Web.example.org Web\nfd00::25 Web.example.org Web\n\
             127.0.0.1 localhost\n# web stays in a comment\n\n10.0.0.1 n1\n"
        );
    }

    #[test]
    fn a_file_is_kept_in_its_place_and_made_shorter() {
        use std::os::unix::fs::MetadataExt;
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("etc")).unwrap();
        fs::write(root.path().join(NODE), "127.0.0.1 localhost\n10.0.0.9 somebody\n").unwrap();
        write(root.path(), &server()).unwrap();
        let file = path(root.path(), "Web");
        let (first, text) = (fs::metadata(&file).unwrap(), fs::read_to_string(&file).unwrap());
        assert!(text.ends_with("10.0.0.9 somebody\n"), "{text}");
        fs::write(root.path().join(NODE), "127.0.0.1 localhost\n").unwrap();
        write(root.path(), &server()).unwrap();
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.ends_with("127.0.0.1 localhost\n") && !text.contains("somebody"), "{text}");
        assert_eq!(fs::metadata(&file).unwrap().ino(), first.ino());
    }
}
