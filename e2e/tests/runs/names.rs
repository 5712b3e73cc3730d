//! A virtual server with its name in DNS, through a power cut (A-104, A-120, A-125, A-133, A-136),
//! and then the cluster with its own: BIND runs in the lab's client, and the client asks it and the
//! program.

use std::process::Command;

use e2e::program::Said;
use e2e::{PATIENCE, World, other, tell, wait};
use stead_model::NodeId;

const NAME: &str = "VirtualServer.nwtraders.example";
const REVERSE: &str = "25.2.77.10.in-addr.arpa";
const ADDRESS: &str = "10.77.2.25";
/// The cluster is called like its lab.
const CLUSTER: &str = "names.nwtraders.example";
const CLUSTER_REVERSE: &str = "30.2.77.10.in-addr.arpa";
const CLUSTER_IP: &str = "10.77.2.30";
/// Where every node has the key of the zones.
const KEY: &str = "/run/dns.key";
const SECRET: &str =
    "key \"clus\" { algorithm hmac-sha256; secret \"a2V5IG9mIHRoZSBjbHVzdGVy\"; };\n";

const GROUP: &str = r#"
[group]
name = "server"

[[resource]]
name = "server-address"
type = "ip-address"
address = "10.77.2.25/24"

[[resource]]
name = "server-name"
type = "network-name"
depends-on = ["server-address"]
host-name = "VirtualServer"
zone = "nwtraders.example"
dns-servers = "10.77.2.250"
tsig-key = "/run/dns.key"
ttl = "1min"

[[resource]]
name = "server-program"
type = "generic-application"
depends-on = ["server-name"]
command = "/bin/busybox nc -ll -p 7 -e /bin/uname -n"
"#;

/// A lab whose client is the name server.
struct Site(World);

impl Site {
    /// `None` where this machine or user cannot run it, which is told.
    fn up() -> Option<Self> {
        let lacks = ["named", "dig", "busybox"]
            .into_iter()
            .find(|program| Command::new(program).arg("--help").output().is_err());
        if let Some(program) = lacks {
            tell(&format!("SKIPPED: this machine has no {program}"));
            return None;
        }
        if !rustix::process::geteuid().is_root() {
            tell("SKIPPED: a host name of its own is for root");
            return None;
        }
        let site = Self(World::up("names"));
        for node in ["n1", "n2"] {
            site.write(node, KEY, SECRET);
        }
        site.serve();
        Some(site)
    }

    fn exec(&self, machine: &str, command: &[&str]) -> Said {
        self.0.stead(&[&["lab", "exec", machine, "--"], command].concat())
    }

    fn done(&self, machine: &str, command: &[&str]) {
        let said = self.exec(machine, command);
        assert_eq!(said.code, 0, "{command:?}: {}{}", said.out, said.err);
    }

    fn write(&self, machine: &str, path: &str, text: &str) {
        let script = "umask 077; mkdir -p \"${2%/*}\"; printf %s \"$1\" >\"$2\"";
        self.done(machine, &["sh", "-c", script, "sh", text, path]);
    }

    /// Starts the server, which goes into the background by itself.
    fn serve(&self) {
        let mut text = String::from(
            "options { directory \"/tmp/dns\"; listen-on { any; }; listen-on-v6 { none; };\n\
             pid-file none; session-keyfile none; recursion no; dnssec-validation no; };\n\
             controls { };\ninclude \"/tmp/dns/key\";\n",
        );
        self.write("client", "/tmp/dns/key", SECRET);
        for zone in ["nwtraders.example", "2.77.10.in-addr.arpa"] {
            let records = "$TTL 60\n@ SOA ns.nwtraders.example. root 1 60 60 600 60\n\
                           @ NS ns.nwtraders.example.\n";
            let own = if zone.ends_with("arpa") { "" } else { "ns A 10.77.2.250\n" };
            self.write("client", &format!("/tmp/dns/{zone}"), &format!("{records}{own}"));
            text.push_str(&format!(
                "zone \"{zone}\" {{ type primary; file \"/tmp/dns/{zone}\"; \
                 update-policy {{ grant clus zonesub ANY; }}; }};\n"
            ));
        }
        self.write("client", "/tmp/dns/named.conf", &text);
        self.done("client", &["named", "-n", "1", "-c", "/tmp/dns/named.conf"]);
    }

    /// Waits until the client's server says exactly this; nothing: that it has nothing.
    fn resolves(&self, name: &str, kind: &str, wanted: &str) {
        let dig = ["dig", "+short", "+time=1", "+tries=1", "@127.0.0.1", "-t", kind, name];
        wait(&format!("{name} {kind} is `{wanted}`"), || {
            let said = self.exec("client", &dig);
            let told = said.out.trim();
            let fits = if wanted.is_empty() { told.is_empty() } else { told.contains(wanted) };
            if said.code == 0 && fits { Ok(()) } else { Err(said.out + &said.err) }
        });
    }

    /// Waits until the program says what it believes its host is called.
    fn believes(&self, name: &str) {
        wait(&format!("the program answers with {name}"), || {
            let said = self.exec("client", &["busybox", "nc", "-w", "1", ADDRESS, "7"]);
            if said.out.trim() == name { Ok(()) } else { Err(said.out + &said.err) }
        });
    }

    fn stead(&self, words: &[&str]) {
        let said = self.0.stead(words);
        assert_eq!(said.code, 0, "{words:?}: {}{}", said.out, said.err);
    }

    fn owner(&self, group: &str, seen_from: NodeId) -> NodeId {
        self.0.group(seen_from, group).owner.unwrap()
    }
}

#[test]
fn names_a_virtual_server_is_the_same_on_every_node() {
    let Some(site) = Site::up() else { return };
    let file = site.0.home().join("server.toml");
    std::fs::write(&file, GROUP).unwrap();
    site.stead(&["apply", file.to_str().unwrap(), "--wait"]);
    site.resolves(NAME, "A", ADDRESS);
    site.resolves(REVERSE, "PTR", NAME);
    site.resolves(&format!("_stead.{NAME}"), "TXT", "epoch=1");
    site.believes("VirtualServer");
    let said = site.0.stead(&["group", "list", "--virtual-servers"]);
    assert!(said.out.contains("VirtualServer"), "{}{}", said.out, said.err);

    let owner = site.owner("server", NodeId(1));
    let heir = other(owner);
    site.0.crash(owner);
    site.0.taken_over("server", heir);
    // The same answers of the other node: name, address, and what the program believes.
    site.believes("VirtualServer");
    site.resolves(NAME, "A", ADDRESS);
    site.resolves(&format!("_stead.{NAME}"), "TXT", "epoch=2");
    let hidden = site.0.records(heir).into_iter().find(|record| record.code == "server-hidden");
    assert!(hidden.is_none(), "{hidden:?}");

    site.stead(&["group", "offline", "server", "--wait"]);
    site.resolves(NAME, "A", ADDRESS);
    site.stead(&["resource", "delete", "server-program"]);
    site.stead(&["resource", "delete", "server-name"]);
    site.resolves(NAME, "A", "");
    site.resolves(REVERSE, "PTR", "");
    site.resolves(&format!("_stead.{NAME}"), "TXT", "");

    site.0.start(owner);
    site.0.cluster().wait_serving(PATIENCE).unwrap();
    // What lies below `/run` is gone with the power.
    site.write(&owner.to_string(), KEY, SECRET);
    the_cluster_has_a_name(&site);
}

/// The cluster publishes its own name with its address; the next owner does, too, and nobody does
/// any more when that is said.
fn the_cluster_has_a_name(site: &Site) {
    let zone = ["--zone", "nwtraders.example", "--dns-servers", "10.77.2.250", "--tsig-key", KEY];
    let address = format!("{CLUSTER_IP}/24");
    site.stead(&[&["cluster", "ip", address.as_str(), "--wait"], &zone[..]].concat());
    let mark = format!("_stead.{CLUSTER}");
    site.resolves(CLUSTER, "A", CLUSTER_IP);
    site.resolves(CLUSTER_REVERSE, "PTR", CLUSTER);
    site.resolves(&mark, "TXT", "group=cluster resource=cluster-name epoch=1");
    let shown = site.0.stead(&["cluster", "ip"]);
    assert!(shown.out.contains(CLUSTER), "{}{}", shown.out, shown.err);

    let owner = site.owner("cluster", NodeId(1));
    site.0.crash(owner);
    site.0.taken_over("cluster", other(owner));
    site.resolves(&mark, "TXT", "epoch=2");
    site.resolves(CLUSTER, "A", CLUSTER_IP);

    site.stead(&["cluster", "ip", "--no-name"]);
    site.resolves(CLUSTER, "A", "");
    site.resolves(CLUSTER_REVERSE, "PTR", "");
    site.resolves(&mark, "TXT", "");
    let shown = site.0.stead(&["cluster", "ip"]);
    assert!(shown.out.contains(CLUSTER_IP), "{}{}", shown.out, shown.err);
}
