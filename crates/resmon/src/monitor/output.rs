//! `resource logs`: the kept output of an application.

use std::fs;
use std::io;
use std::path::Path;
use std::thread;

use stead_model::ResourceId;
use stead_model::wire::monitor::MonitorToNode;

use super::STACK_BYTES;
use super::node_port::NodeLink;

/// Reads the last output in a thread of its own and sends it.
pub(super) fn read(
    root: &Path,
    resource: &ResourceId,
    bytes_max: u32,
    request: u64,
    link: NodeLink,
) {
    let folder = root.join("var/lib/stead/logs");
    let name = resource.as_str().to_owned();
    let answer = link.clone();
    let work = move || {
        let output = last(&folder, &name, bytes_max as usize);
        let output = output.map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => "no program of it has written anything here".to_owned(),
            _ => format!("no output of `{name}`: {e}"),
        });
        link.send(MonitorToNode::Logs { request, output });
    };
    if let Err(why) = thread::Builder::new().stack_size(STACK_BYTES).spawn(work) {
        answer.send(MonitorToNode::Logs { request, output: Err(why.to_string()) });
    }
}

/// The last bytes of both files, from the beginning of a line.
fn last(folder: &Path, name: &str, bytes_max: usize) -> io::Result<Vec<u8>> {
    let newer = fs::read(folder.join(format!("{name}.log")))?;
    let mut all = match fs::read(folder.join(format!("{name}.log.1"))) {
        Ok(older) if newer.len() < bytes_max => older,
        Ok(_) => Vec::new(),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(e) => return Err(e),
    };
    all.extend(newer);
    if all.len() > bytes_max {
        let cut = all.len() - bytes_max;
        let line = all[cut..].iter().position(|byte| *byte == b'\n').map_or(cut, |at| cut + at + 1);
        all.drain(..line);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_whole_lines_of_both_files_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("web.log.1", "one\ntwo\n");
        write("web.log", "three\nfour\n");
        let read = |bytes_max| last(folder.path(), "web", bytes_max).unwrap();
        assert_eq!(read(1000), b"one\ntwo\nthree\nfour\n");
        assert_eq!(read(12), b"three\nfour\n");
        assert_eq!(read(7), b"four\n");
        assert!(last(folder.path(), "none", 10).is_err());
    }
}
