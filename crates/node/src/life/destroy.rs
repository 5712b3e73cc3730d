//! The end of a cluster of one node, or of a creation that is given up: this host is as before.

use std::fs;
use std::os::unix::net::UnixStream;

use serde::{Deserialize, Serialize};
use stead_model::config::NodeConfig;
use stead_model::reason::{Code, Reason};

use super::files;
use super::host::{Plan, Stand};
use super::member::begun;
use super::steps::{Step, Told, carry_out};
use super::{Host, quorum, unit};
use crate::lines::earlier;

/// What becomes of the quorum disk of the cluster.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiskEnd {
    /// It is made blank: this host is known to be the only node.
    Blank,
    /// It is left as it is: others may use it.
    Kept,
}

/// Ends the cluster of this name, of which this host is the only node; tells each step. What is
/// to become of its quorum disk counts where nothing was begun: nobody else can be in a cluster
/// that is not made yet, and what was begun goes on as it began.
///
/// # Errors
/// This host is in no such cluster, or something is refused; repeating it goes on.
pub fn destroy(
    host: &Host,
    (name, disk): (&str, DiskEnd),
    tell: &mut dyn FnMut(Told),
) -> Result<(), Reason> {
    let doing = format!("destroy cluster `{}`", name.escape_debug());
    let refused = |code| Reason::new(code, format!("cannot {doing}"));
    let (config, disk) = match host.stand()? {
        Stand::Member(config) => (Some(config), disk),
        Stand::Began(Plan::Create(config)) => (Some(config), DiskEnd::Blank),
        Stand::Began(Plan::Destroy { config, disk }) => (Some(config), disk),
        Stand::Began(Plan::Join(plan)) if plan.cluster == name => (None, DiskEnd::Kept),
        Stand::Began(plan @ Plan::Join(_)) => return Err(begun(&doing, &plan)),
        Stand::Free => (None, disk),
    };
    if let Some(config) = config.as_ref().filter(|config| config.cluster != name) {
        return Err(refused(Code::NotFound)
            .because(format!("this host is in cluster `{}`", config.cluster))
            .hint(format!("if that one is meant: `stead cluster destroy {}`", config.cluster)));
    }
    let has_rest = host.paths.node_log().exists() || host.paths.plan().exists();
    if config.is_none() && !has_rest {
        return Err(refused(Code::NotFound)
            .because("this host is in no cluster")
            .hint("`stead cluster create NAME` makes one"));
    }
    carry_out(&STEPS, &Work { host: host.clone(), config, disk }, tell)
}

struct Work {
    host: Host,
    /// `None` where only a log is left.
    config: Option<NodeConfig>,
    disk: DiskEnd,
}

const STEPS: [Step<Work>; 5] = [
    Step { name: "plan", run: plan },
    Step { name: "service", run: stop },
    Step { name: "quorum disk", run: wipe },
    Step { name: "files", run: remove },
    Step { name: "end", run: forget_plan },
];

fn plan(work: &Work) -> Result<String, Reason> {
    let Some(config) = &work.config else { return Ok("what is left of a node".into()) };
    let plan = Plan::Destroy { config: config.clone(), disk: work.disk };
    files::put_json(&work.host.paths.plan(), &plan)?;
    Ok(format!("cluster `{}` with {}", config.cluster, config.node))
}

fn stop(work: &Work) -> Result<String, Reason> {
    let told = unit::stop(&work.host)?;
    let api = work.host.paths.api();
    if UnixStream::connect(&api).is_ok() {
        return Err(Reason::new(Code::Conflict, "cannot remove a node that runs")
            .because(format!("its service answers on `{}`", api.display()))
            .hint("end `stead guard` with SIGTERM: it takes everything offline first"));
    }
    Ok(told)
}

fn wipe(work: &Work) -> Result<String, Reason> {
    let disk = work.config.as_ref().and_then(|config| config.quorum.disk.as_ref());
    let keys = work.host.paths.pki().cluster_keys();
    match (disk, keys) {
        (Some(disk), _) if work.disk == DiskEnd::Kept => {
            Ok(format!("`{}` is left as it is: other nodes may use it", disk.path.display()))
        }
        (Some(disk), Ok(keys)) => quorum::wipe(disk, &keys),
        (Some(disk), Err(_)) => {
            Ok(format!("`{}` is left as it is: the key is gone", disk.path.display()))
        }
        (None, _) => Ok("none".into()),
    }
}

/// The configuration first: what is no node any more cannot be started as one.
fn remove(work: &Work) -> Result<String, Reason> {
    let paths = &work.host.paths;
    for path in [paths.config(), paths.first_start(), paths.key()] {
        files::remove(&path)?;
    }
    files::remove_folder(&paths.etc().join("pki"))?;
    for path in [paths.node_log(), paths.alerts(), paths.device_lock()] {
        files::remove(&path)?;
    }
    files::remove_folder(&paths.outputs())?;
    for path in [paths.records(), paths.audit()] {
        files::remove(&path)?;
        files::remove(&earlier(&path))?;
    }
    for folder in [paths.var(), paths.run()] {
        // One in which something else lies stays.
        let _ = fs::remove_dir(folder);
    }
    Ok(format!("removed from `{}` and `{}`", paths.etc().display(), paths.var().display()))
}

fn forget_plan(work: &Work) -> Result<String, Reason> {
    let plan = work.host.paths.plan();
    files::remove(&plan)?;
    let _ = fs::remove_dir(work.host.paths.etc());
    Ok("this host is in no cluster".into())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use stead_model::profile::Profile;

    use super::super::{Creation, create, own_port};
    use super::*;
    use crate::bootstrap::Paths;
    use crate::net::interfaces::Held;

    fn host(root: &Path) -> Host {
        let lo = Held::fixed("lo", "127.0.0.1", 8);
        Host { paths: Paths::under(root), name: "alpha".into(), held: vec![lo] }
    }

    fn made(host: &Host, root: &Path) -> Creation {
        let quorum_disk = root.join("quorum");
        if !quorum_disk.exists() {
            fs::File::create(&quorum_disk).unwrap().set_len(512 << 20).unwrap();
        }
        let wanted = Creation {
            name: "office".into(),
            addresses: vec![[127, 0, 0, 1].into()],
            quorum_disk: Some(quorum_disk),
            profile: Profile::Standard,
            port: own_port(),
        };
        create(host, &wanted, &mut |_| {}).unwrap();
        wanted
    }

    #[test]
    fn nothing_is_left_and_the_same_disk_serves_again_whatever_interrupts_it() {
        let folder = tempfile::tempdir().unwrap();
        let host = host(folder.path());
        for done in 0..STEPS.len() {
            made(&host, folder.path());
            files::make_folder(host.paths.var()).unwrap();
            for log in [host.paths.records(), host.paths.audit()] {
                fs::write(earlier(&log), b"{}").unwrap();
                fs::write(log, b"{}").unwrap();
            }
            for folder in [host.paths.outputs(), host.paths.run().to_owned()] {
                files::make_folder(&folder).unwrap();
            }
            fs::write(host.paths.outputs().join("web.log"), b"secret").unwrap();
            fs::write(host.paths.device_lock(), b"").unwrap();
            let Stand::Member(config) = host.stand().unwrap() else { panic!() };
            let work = Work { host: host.clone(), config: Some(config), disk: DiskEnd::Blank };
            carry_out(&STEPS[..done], &work, &mut |_| {}).unwrap();
            destroy(&host, ("office", DiskEnd::Blank), &mut |_| {}).unwrap();
            assert_eq!(host.stand().unwrap(), Stand::Free);
            for left in ["etc/stead", "var/lib/stead", "run/stead"] {
                assert!(!folder.path().join(left).exists(), "{left} after {done} steps");
            }
        }
        let refused = destroy(&host, ("office", DiskEnd::Blank), &mut |_| {}).unwrap_err();
        assert!(refused.to_string().contains("in no cluster"), "{refused}");
    }

    #[test]
    fn a_quorum_disk_that_others_may_use_is_kept_whoever_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let host = host(folder.path());
        made(&host, folder.path());
        let Stand::Member(config) = host.stand().unwrap() else { panic!() };
        let disk = config.quorum.disk.as_ref().unwrap().path.clone();
        let before = fs::read(&disk).unwrap();
        let work = Work { host: host.clone(), config: Some(config), disk: DiskEnd::Kept };
        carry_out(&STEPS[..2], &work, &mut |_| {}).unwrap();
        destroy(&host, ("office", DiskEnd::Blank), &mut |_| {}).unwrap();
        assert_eq!(host.stand().unwrap(), Stand::Free);
        assert!(fs::read(&disk).unwrap() == before, "it was written");
    }

    #[test]
    fn another_cluster_or_a_node_that_runs_is_not_destroyed() {
        let folder = tempfile::tempdir().unwrap();
        let host = host(folder.path());
        let wanted = made(&host, folder.path());
        let refused = destroy(&host, ("factory", DiskEnd::Blank), &mut |_| {}).unwrap_err();
        assert!(refused.to_string().contains("is in cluster `office`"), "{refused}");
        files::make_folder(host.paths.run()).unwrap();
        let runs = std::os::unix::net::UnixListener::bind(host.paths.api()).unwrap();
        let refused = destroy(&host, ("office", DiskEnd::Blank), &mut |_| {}).unwrap_err();
        assert!(refused.to_string().contains("answers on"), "{refused}");
        assert!(host.paths.key().exists());
        let refused = create(&host, &wanted, &mut |_| {}).unwrap_err();
        assert!(refused.to_string().contains("is being destroyed"), "{refused}");
        drop(runs);
        destroy(&host, ("office", DiskEnd::Blank), &mut |_| {}).unwrap();
    }

    #[test]
    fn the_log_of_a_former_node_is_removed_only_by_command() {
        let folder = tempfile::tempdir().unwrap();
        let host = host(folder.path());
        files::make_folder(host.paths.var()).unwrap();
        fs::write(host.paths.node_log(), b"old").unwrap();
        let wanted = Creation {
            name: "office".into(),
            addresses: vec![[127, 0, 0, 1].into()],
            quorum_disk: None,
            profile: Profile::Standard,
            port: own_port(),
        };
        let refused = create(&host, &wanted, &mut |_| {}).unwrap_err();
        assert!(refused.to_string().contains("is the log of a node"), "{refused}");
        destroy(&host, ("office", DiskEnd::Blank), &mut |_| {}).unwrap();
        create(&host, &wanted, &mut |_| {}).unwrap();
    }
}
