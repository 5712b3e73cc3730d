//! Whether this host sees the disks that the nodes of a cluster share: that of the quorum, and
//! those of groups.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, FileTypeExt};

use stead_journal::Identity;
use stead_model::config::NodeConfig;

use super::super::within::within;
use super::{Finding, REACHED_WITHIN};
use crate::admission::wire::GroupDisk;

/// Whether the quorum disk is the one of the cluster.
pub(super) fn of_quorum(config: &NodeConfig) -> Option<Finding> {
    let disk = config.quorum.disk.as_ref()?;
    let path = disk.path.display();
    let place = disk.path.clone();
    let read = in_time(move || {
        let mut block = vec![0; Identity::BYTES as usize];
        File::open(place)?.read_exact_at(&mut block, Identity::OFFSET).map(|()| block)
    });
    let fix = format!("connect the disk to this host: all nodes see it as `{path}`");
    Some(match read.map(|block| Identity::decode(&block, None)) {
        Ok(Ok(found)) if found.disk.0 == disk.disk_id => {
            Finding::good("quorum disk", format!("`{path}` is the one of the cluster"))
        }
        Ok(_) => {
            let text = format!("`{path}` is another disk than the cluster's");
            Finding::bad("quorum disk", text, fix)
        }
        Err(error) => {
            let text = format!("`{path}` cannot be read: {error}");
            Finding::bad("quorum disk", text, fix)
        }
    })
}

/// Whether the disks are there that groups need which this host may own. Many are opened at once:
/// what does not answer takes the time of one.
pub(super) fn of_groups(disks: &[GroupDisk]) -> Vec<Finding> {
    let at_once = |disks: &'_ [GroupDisk]| -> Vec<io::Result<()>> {
        std::thread::scope(|scope| {
            let look = |disk| scope.spawn(move || opens(disk));
            let looking: Vec<_> = disks.iter().map(look).collect();
            let ended = || Err(io::Error::other("looking at it ended by a bug"));
            looking.into_iter().map(|thread| thread.join().unwrap_or_else(|_| ended())).collect()
        })
    };
    let opened = disks.chunks(AT_ONCE_MAX).flat_map(at_once);
    let opened: Vec<(&GroupDisk, io::Result<()>)> = disks.iter().zip(opened).collect();
    let (all, count) = (disks.len(), opened.iter().filter(|(_, result)| result.is_ok()).count());
    let text = format!("{count} of {all} disks of groups can be opened");
    let good = (count > 0).then(|| Finding::good("disks", text));
    let missing = opened.iter().filter_map(|(GroupDisk { group, path }, result)| {
        let error = result.as_ref().err()?;
        let path = path.display();
        let text =
            format!("group `{group}` cannot run here: its disk `{path}` cannot be opened: {error}");
        let fix = "connect it to this host, or name the other nodes as `possible-owners` of \
                   that resource";
        Some(Finding::doubtful("disks", text, fix))
    });
    good.into_iter().chain(missing).collect()
}

/// Disks that are opened at once.
const AT_ONCE_MAX: usize = 32;

/// As the resource type does, no other kind of file is opened.
fn opens(disk: &GroupDisk) -> io::Result<()> {
    let path = disk.path.clone();
    in_time(move || match std::fs::metadata(&path)?.file_type().is_block_device() {
        true => File::open(path).map(drop),
        false => Err(io::Error::other("it is no block device")),
    })
}

/// What comes of a look at a disk, or that it does not answer.
fn in_time<T: Send + 'static>(
    look: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    within(REACHED_WITHIN, look).unwrap_or_else(|| {
        let late = format!("it does not answer within {} s", REACHED_WITHIN.as_secs());
        Err(io::Error::new(io::ErrorKind::TimedOut, late))
    })
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use rustix::fs::{CWD, FileType, Mode, mknodat};
    use stead_model::VoterId;
    use stead_model::config::QuorumDisk;

    use super::super::Verdict;
    use super::*;
    use crate::net::peers_config;

    /// A file that hangs: whoever opens it waits for somebody who writes.
    fn hangs(folder: &Path) -> PathBuf {
        let path = folder.join("hangs");
        mknodat(CWD, &path, FileType::Fifo, Mode::RWXU, 0).unwrap();
        path
    }

    #[test]
    fn a_disk_that_does_not_answer_is_waited_for_so_long() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = peers_config(1, 17_410);
        let (voter, path) = (VoterId(VoterId::DISK_FIRST), hangs(dir.path()));
        config.quorum.disk = Some(QuorumDisk { voter, path, disk_id: [1; 16] });
        let found = of_quorum(&config).unwrap();
        assert!(found.to_string().contains("it does not answer within 2 s"), "{found}");
        assert!(matches!(found.verdict, Verdict::Bad(_)), "{found}");
        config.quorum.disk.as_mut().unwrap().path = dir.path().join("none");
        let found = of_quorum(&config).unwrap();
        assert!(found.to_string().contains("connect the disk to this host"), "{found}");
    }

    #[test]
    fn a_group_whose_disk_is_not_here_is_named_with_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let disk = |group: &str, path| GroupDisk { group: group.into(), path };
        let found = of_groups(&[disk("mail", dir.path().join("none")), disk("web", file)]);
        let texts: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(texts.len(), 2, "{texts:?}");
        let none = format!("disk `{}/none` cannot be opened: No such file", dir.path().display());
        assert!(texts[0].starts_with("doubtful disks: group `mail` cannot run here: its "));
        assert!(texts[0].contains(&none), "{}", texts[0]);
        assert!(texts[0].contains("fix: connect it to this host, or name"), "{}", texts[0]);
        assert!(texts[1].contains("group `web`") && texts[1].contains("no block device"));
        assert!(of_groups(&[]).is_empty());
    }
}
