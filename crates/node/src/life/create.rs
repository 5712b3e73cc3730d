//! A cluster of one node, on this host.
//!
//! It can serve alone, and others join it. What is decided is written first; whatever
//! interrupts the rest, the same command goes on where it ended, and another one is refused.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::SystemTime;

use rustix::rand::{GetRandomFlags, getrandom};
use stead_model::config::{
    NodeAddress, NodeConfig, NodeEntry, QuorumConfig, QuorumDisk, QuorumMode,
};
use stead_model::profile::Profile;
use stead_model::reason::{Code, Reason};
use stead_model::resource_type::parse_address;
use stead_model::{NodeId, VoterId};
use stead_trust::{Authority, Pki, TrustError};

use super::check::{self, Verdict, links, ports};
use super::files::{self, Readers};
use super::host::{Plan, Stand, is_member};
use super::member::{self, begun, left_behind};
use super::steps::{Step, Told, carry_out};
use super::{Host, named, networks, quorum, unit};
use crate::bootstrap;

/// The first node of a cluster.
const FIRST: NodeId = NodeId(1);

/// What shall be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Creation {
    /// Name of the cluster.
    pub name: String,
    /// Addresses of this host, one of each network; none: one of every interface that is up.
    pub addresses: Vec<IpAddr>,
    /// File or block device that all nodes will see under this path.
    pub quorum_disk: Option<PathBuf>,
    /// The timing profile.
    pub profile: Profile,
    /// UDP and TCP port of the cluster.
    pub port: u16,
}

/// Makes the cluster, or goes on with making it; tells each step when it is done.
///
/// # Errors
/// This host is in a cluster, or something is refused; what was done is kept for a repetition.
pub fn create(
    host: &Host,
    wanted: &Creation,
    tell: &mut dyn FnMut(Told),
) -> Result<NodeConfig, Reason> {
    carry_out(&STEPS, &planned(host, wanted)?, tell)?;
    let stands = host.stand()?;
    match stands {
        Stand::Member(config) => Ok(config),
        Stand::Began(_) | Stand::Free => {
            Err(refused(wanted, Code::Bug).because(format!("it ended in {stands:?}")))
        }
    }
}

/// Looks whether a new cluster can have an IP address of its own, before anything is made.
///
/// # Errors
/// It is no address, one of this host, or on no network of the cluster.
pub fn check_cluster_ip(host: &Host, wanted: &Creation, text: &str) -> Result<(), Reason> {
    let no = |cause: String| {
        Reason::new(Code::Invalid, format!("`{}` cannot be the cluster IP", text.escape_debug()))
            .because(cause)
            .hint("choose a free address of a network that clients reach, as in `10.1.0.100`")
    };
    let Some(address) = address_of(text) else {
        return Err(no("it is no address".into()));
    };
    if host.held.iter().any(|held| held.address == address) {
        return Err(no("this host has it: it would not move to another node".into()));
    }
    let chosen = networks::choose(&host.held, &wanted.addresses)?;
    if parse_address(text).is_some() || chosen.iter().any(|held| held.is_beside(address)) {
        return Ok(());
    }
    let all: Vec<String> = chosen.iter().map(ToString::to_string).collect();
    Err(no(format!("it is in no network of the cluster: {}", all.join(", "))))
}

/// The address of a cluster IP, with a prefix length or without.
pub(super) fn address_of(text: &str) -> Option<IpAddr> {
    parse_address(text).map(|(address, _)| address).or_else(|| text.parse().ok())
}

/// One creation under way.
struct Work {
    host: Host,
    config: NodeConfig,
    /// What is told of the plan.
    plan: String,
}

const STEPS: [Step<Work>; 8] = [
    Step { name: "plan", run: |work| Ok(work.plan.clone()) },
    Step { name: "cluster key", run: make_key },
    Step { name: "authority", run: make_authority },
    Step { name: "quorum disk", run: make_disk },
    Step { name: "log", run: |work| member::allow_log(&work.host) },
    Step { name: "configuration", run: |work| member::make_config(&work.host, &work.config) },
    Step { name: "service", run: |work| unit::start(&work.host) },
    Step { name: "end", run: forget_plan },
];

/// What was decided before, or is now: the one thing that a repetition must not do anew.
fn planned(host: &Host, wanted: &Creation) -> Result<Work, Reason> {
    let (config, plan) = match host.stand()? {
        Stand::Member(config) => return Err(is_member(&doing(wanted), host, &config)),
        Stand::Began(Plan::Create(config)) => {
            same(&config, wanted)?;
            (config, "goes on with what was begun".to_owned())
        }
        Stand::Began(plan @ (Plan::Destroy { .. } | Plan::Join(_))) => {
            return Err(begun(&doing(wanted), &plan));
        }
        Stand::Free => {
            let config = decide(host, wanted)?;
            files::make_folder(host.paths.etc())?;
            files::put_json(&host.paths.plan(), &Plan::Create(config.clone()))?;
            let chosen = networks::choose(&host.held, &wanted.addresses)?;
            let (_, doubts) = check::doubts(&links::of_new_cluster(&chosen));
            let told = told(&config) + &doubts;
            (config, told)
        }
    };
    Ok(Work { host: host.clone(), config, plan })
}

fn told(config: &NodeConfig) -> String {
    let own = config.node_entry(FIRST).map(|node| named(&node.addresses, config));
    let addresses = own.unwrap_or_default();
    format!("cluster `{}` with this host as {FIRST}, {addresses}", config.cluster)
}

/// Everything about the new cluster, from what is wanted and what this host has.
fn decide(host: &Host, wanted: &Creation) -> Result<NodeConfig, Reason> {
    check_names(host, wanted)?;
    left_behind(&doing(wanted), host)?;
    let chosen = networks::choose(&host.held, &wanted.addresses)?;
    let (networks, addresses) = networks::of(&chosen);
    check_ports(wanted, &addresses)?;
    if let Some(disk) = &wanted.quorum_disk {
        quorum::check(disk)?;
    }
    let disk = match &wanted.quorum_disk {
        None => None,
        Some(path) => Some(QuorumDisk {
            voter: VoterId(VoterId::DISK_FIRST),
            path: path.clone(),
            disk_id: random(&doing(wanted))?,
        }),
    };
    let mode = match disk {
        Some(_) => QuorumMode::NodeAndDiskMajority,
        None => QuorumMode::NodeMajority,
    };
    Ok(NodeConfig {
        cluster: wanted.name.clone(),
        cluster_id: u64::from_le_bytes(random(&doing(wanted))?).max(1),
        node: FIRST,
        port: wanted.port,
        nodes: vec![NodeEntry { id: FIRST, name: host.name.clone(), addresses }],
        founders: None,
        networks,
        quorum: QuorumConfig { mode, disk },
        profile: wanted.profile,
        watchdog: None,
    })
}

fn check_names(host: &Host, wanted: &Creation) -> Result<(), Reason> {
    let name = &wanted.name;
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let is_name = (1..=63).contains(&name.len()) && name.bytes().all(allowed);
    if !is_name || name.starts_with('-') {
        return Err(refused(wanted, Code::Invalid)
            .because(format!("`{}` cannot be the name of a cluster", name.escape_debug()))
            .hint("a name has 1 to 63 of `a-z 0-9 -` and does not begin with `-`"));
    }
    if host.name.split('.').next().is_some_and(|short| short.eq_ignore_ascii_case(name)) {
        return Err(refused(wanted, Code::Exists)
            .because(format!("this host has the name `{}`", host.name))
            .hint("clients could not tell the cluster from one of its nodes: choose another"));
    }
    Ok(())
}

fn check_ports(wanted: &Creation, addresses: &[NodeAddress]) -> Result<(), Reason> {
    let finding = ports::of_new_cluster(addresses, wanted.port);
    let is_possible = crate::admission::port(wanted.port).is_some();
    let code = if is_possible { Code::Conflict } else { Code::Invalid };
    match finding.verdict {
        Verdict::Good | Verdict::Doubtful(_) => Ok(()),
        Verdict::Bad(fix) => Err(refused(wanted, code).because(finding.text).hint(fix)),
    }
}

/// Random bytes, for something that is to be done.
pub(super) fn random<const BYTES: usize>(doing: &str) -> Result<[u8; BYTES], Reason> {
    let mut bytes = [0; BYTES];
    match getrandom(&mut bytes, GetRandomFlags::empty()) {
        Ok(count) if count == BYTES => Ok(bytes),
        Ok(_) | Err(_) => Err(Reason::new(Code::Conflict, format!("cannot {doing}"))
            .because("the system gives no random numbers")),
    }
}

/// A repetition must want what was begun.
fn same(begun: &NodeConfig, wanted: &Creation) -> Result<(), Reason> {
    let disk = begun.quorum.disk.as_ref().map(|disk| &disk.path);
    let has = |address: &IpAddr| {
        let mut own = begun.nodes.iter().flat_map(|node| &node.addresses);
        own.any(|own| own.address == *address)
    };
    let is_same = begun.cluster == wanted.name
        && disk == wanted.quorum_disk.as_ref()
        && begun.port == wanted.port
        && begun.profile == wanted.profile
        && wanted.addresses.iter().all(has);
    if is_same {
        return Ok(());
    }
    Err(refused(wanted, Code::Conflict)
        .because(format!(
            "cluster `{}` was begun on this host with other arguments and is not complete",
            begun.cluster
        ))
        .hint(format!("repeat that one, or end it: `stead cluster destroy {}`", begun.cluster)))
}

fn make_key(work: &Work) -> Result<String, Reason> {
    let path = work.host.paths.key();
    if bootstrap::read_key(&path).is_ok() {
        return Ok(format!("`{}` was made before", path.display()));
    }
    let mut key = [0; 32];
    getrandom(&mut key, GetRandomFlags::empty())
        .map_err(|e| files::failed("make", &path)(e.into()))?;
    files::put(&path, &key, Readers::Owner)?;
    Ok(format!("made `{}`", path.display()))
}

fn make_authority(work: &Work) -> Result<String, Reason> {
    let pki = Pki::below(work.host.paths.etc());
    let cluster_id = work.config.cluster_id;
    let is_own = |a: &Authority| a.cluster_id() == cluster_id && pki.credentials().is_ok();
    if let Some(authority) = pki.authority().ok().filter(is_own) {
        return Ok(format!("was made before, fingerprint {}", authority.fingerprint()));
    }
    let now = SystemTime::now();
    let authority = Authority::create(cluster_id, now).map_err(untrusted)?;
    let node = authority.issue(work.config.node, now).map_err(untrusted)?;
    pki.install(&authority, &node).map_err(untrusted)?;
    Ok(format!("made, fingerprint {}", authority.fingerprint()))
}

/// What the crate `trust` refuses.
pub(super) fn untrusted(error: TrustError) -> Reason {
    let reason = Reason::new(Code::Conflict, error.to_string());
    match error.hint() {
        Some(hint) => reason.hint(hint),
        None => reason,
    }
}

fn make_disk(work: &Work) -> Result<String, Reason> {
    let Some(disk) = &work.config.quorum.disk else {
        return Ok("none: two nodes alone could not tell a dead peer from a cut".into());
    };
    let path = work.host.paths.key();
    let key = bootstrap::read_key(&path)
        .map_err(|error| Reason::new(Code::Conflict, error.to_string()))?;
    quorum::format(&work.config, disk, &key)
}

fn forget_plan(work: &Work) -> Result<String, Reason> {
    member::forget_plan(&work.host)?;
    Ok(format!("cluster `{}` is made", work.config.cluster))
}

fn doing(wanted: &Creation) -> String {
    format!("create cluster `{}`", wanted.name.escape_debug())
}

pub(super) fn refused(wanted: &Creation, code: Code) -> Reason {
    Reason::new(code, format!("cannot {}", doing(wanted)))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::net::TcpListener;
    use std::os::unix::fs::{FileExt, PermissionsExt};
    use std::path::Path;

    use super::super::own_port;
    use super::*;
    use crate::bootstrap::Paths;
    use crate::net::interfaces::Held;

    fn host(root: &Path) -> Host {
        let lo = Held::fixed("lo", "127.0.0.1", 8);
        Host { paths: Paths::under(root), name: "alpha".into(), held: vec![lo] }
    }

    /// A quorum disk with no room taken before it is written.
    fn disk(root: &Path) -> PathBuf {
        let path = root.join("quorum");
        File::create(&path).unwrap().set_len(512 << 20).unwrap();
        path
    }

    fn wanted(root: &Path) -> Creation {
        Creation {
            name: "office".into(),
            addresses: vec![[127, 0, 0, 1].into()],
            quorum_disk: Some(root.join("quorum")),
            profile: Profile::Standard,
            port: own_port(),
        }
    }

    fn told(host: &Host, wanted: &Creation) -> Result<Vec<String>, Reason> {
        let mut lines = Vec::new();
        create(host, wanted, &mut |told| lines.push(told.text))?;
        Ok(lines)
    }

    #[test]
    fn whatever_interrupts_it_the_same_command_goes_on_and_makes_the_same_cluster() {
        for done in 0..=STEPS.len() {
            let folder = tempfile::tempdir().unwrap();
            let (host, wanted) = (host(folder.path()), wanted(folder.path()));
            disk(folder.path());
            let work = planned(&host, &wanted).unwrap();
            carry_out(&STEPS[..done], &work, &mut |_| {}).unwrap();
            // A step that was interrupted leaves its file beside the place.
            fs::write(host.paths.etc().join("cluster.json.new"), b"{").unwrap();
            fs::write(host.paths.etc().join("cluster.key.new"), b"1").unwrap();
            if done == STEPS.len() {
                let again = told(&host, &wanted).unwrap_err();
                assert!(again.to_string().contains("n1 of cluster `office`"), "{again}");
                continue;
            }
            let key = fs::read(host.paths.key()).ok();
            told(&host, &wanted).unwrap();
            let Stand::Member(config) = host.stand().unwrap() else { panic!("{done} steps") };
            assert_eq!(config, work.config, "{done} steps: it decided anew");
            assert!(key.is_none_or(|key| key == fs::read(host.paths.key()).unwrap()));
            let mode = fs::metadata(host.paths.key()).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            assert!(host.paths.first_start().exists());
            let credentials = Pki::below(host.paths.etc()).credentials().unwrap();
            assert_eq!(credentials.identity().cluster_id, config.cluster_id);
        }
    }

    #[test]
    fn a_disk_is_formatted_once_and_what_came_upon_it_meanwhile_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let (host, wanted) = (host(folder.path()), wanted(folder.path()));
        let path = disk(folder.path());
        let work = planned(&host, &wanted).unwrap();
        carry_out(&STEPS[..4], &work, &mut |_| {}).unwrap();
        let formatted = || {
            let mut bytes = vec![0; 1 << 20];
            File::open(&path).unwrap().read_exact_at(&mut bytes, 0).unwrap();
            bytes
        };
        let before = formatted();
        assert!(work.plan.contains("doubtful networks: lo alone would carry"), "{}", work.plan);
        let lines = told(&host, &wanted).unwrap();
        assert!(lines[3].contains("was formatted before"), "{lines:?}");
        assert!(formatted() == before);

        let other = tempfile::tempdir().unwrap();
        let host = self::host(other.path());
        let refused = told(&host, &wanted).unwrap_err();
        assert!(refused.to_string().contains("is the quorum disk of a cluster"), "{refused}");
        assert!(!host.paths.plan().exists(), "nothing half done");
        let blank = Creation { quorum_disk: Some(disk(other.path())), ..wanted };
        planned(&host, &blank).unwrap();
        fs::write(other.path().join("quorum"), b"somebody's").unwrap();
        File::options()
            .write(true)
            .open(other.path().join("quorum"))
            .unwrap()
            .set_len(512 << 20)
            .unwrap();
        let refused = told(&host, &blank).unwrap_err();
        assert!(refused.to_string().contains("something else was written"), "{refused}");
    }

    #[test]
    fn what_cannot_become_a_cluster_is_refused_before_anything_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let host = host(folder.path());
        let good = Creation { quorum_disk: None, ..wanted(folder.path()) };
        let refused = |wanted: &Creation| {
            let reason = told(&host, wanted).unwrap_err();
            assert!(!host.paths.etc().exists(), "{reason}");
            assert!(reason.hint.is_some(), "{reason}");
            reason
        };
        for name in ["", "Office", "-a", "a.b", "a b", &"a".repeat(64)] {
            let wrong = Creation { name: name.into(), ..good.clone() };
            assert_eq!(refused(&wrong).code, Code::Invalid, "{name}");
        }
        let own = Creation { name: "alpha".into(), ..good.clone() };
        assert_eq!(refused(&own).code, Code::Exists);
        let strange = Creation { addresses: vec![[192, 0, 2, 1].into()], ..good.clone() };
        assert_eq!(refused(&strange).code, Code::NotFound);
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let busy = Creation { port: taken.local_addr().unwrap().port(), ..good.clone() };
        assert!(refused(&busy).to_string().contains("cannot listen on 127.0.0.1"));
        let highest = Creation { port: u16::MAX, ..good.clone() };
        assert!(refused(&highest).to_string().contains("no port above 65535"));
        let nowhere = Creation { quorum_disk: Some("/dev/no-such".into()), ..good };
        assert_eq!(refused(&nowhere).code, Code::NotFound);
    }

    #[test]
    fn another_command_is_refused_while_one_is_begun() {
        let folder = tempfile::tempdir().unwrap();
        let host = host(folder.path());
        let begun = Creation { quorum_disk: None, ..wanted(folder.path()) };
        planned(&host, &begun).unwrap();
        let other = Creation { name: "factory".into(), ..begun.clone() };
        let refused = told(&host, &other).unwrap_err();
        assert!(refused.to_string().contains("cluster `office` was begun"), "{refused}");
        told(&host, &begun).unwrap();
        assert!(told(&host, &other).unwrap_err().to_string().contains("n1 of cluster `office`"));
    }
}
