//! Hosts on which the package of stead is installed and nothing else was done, on networks of their
//! own: machines with systemd, joined by bridges in a network namespace of the test.

use std::fs;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::processes::{self, Role};
use crate::program::Said;
use crate::{Machine, packages, wait};

/// Where a quorum disk is that the hosts share.
pub const QUORUM: &str = "/var/shared/quorum";

/// Networks between the hosts: host 2 has the address `10.90.1.2` on the first.
const NETWORKS: [u8; 2] = [1, 2];

/// The hosts and what joins them.
#[derive(Debug)]
pub struct Hosts {
    /// A process in the namespace of the bridges.
    switch: Child,
    /// The hosts, the first one as host 1.
    pub all: Vec<Machine>,
}

impl Hosts {
    /// Boots hosts with these names.
    #[must_use]
    pub fn up(names: &[&str]) -> Self {
        let mut switch = Command::new("unshare");
        switch.args(["-n", "sh", "-c", "echo up && exec sleep 100000"]);
        let mut switch = switch.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = [0; 3];
        std::io::Read::read_exact(switch.stdout.as_mut().unwrap(), &mut line).unwrap();
        let mut hosts = Self { switch, all: Vec::new() };
        for network in NETWORKS {
            hosts.ip(&format!("link add br{network} type bridge"));
            hosts.ip(&format!("link set br{network} up"));
        }
        for name in names {
            let mut machine = Machine::new();
            machine.write("etc/hostname", &format!("{name}\n"));
            machine.write(
                "etc/systemd/system/stead.service.d/test.conf",
                "[Service]\nStandardError=append:/var/log/stead.log\n",
            );
            machine.boot();
            packages().install(&machine, 1);
            hosts.connect(&machine, hosts.all.len() + 1);
            hosts.all.push(machine);
        }
        hosts
    }

    /// Switches a host on again: its disk is as it was, and its cables are plugged in.
    pub fn boot(&mut self, host: usize) {
        self.all[host].boot();
        self.connect(&self.all[host], host + 1);
    }

    /// A file that all hosts see under one path, as a disk that they share.
    pub fn share(&self, path: &str, bytes: u64) {
        let first = self.all[0].path(path);
        fs::create_dir_all(first.parent().unwrap()).unwrap();
        fs::File::create(&first).unwrap().set_len(bytes).unwrap();
        for machine in &self.all[1..] {
            fs::create_dir_all(machine.path(path).parent().unwrap()).unwrap();
            fs::hard_link(&first, machine.path(path)).unwrap();
        }
    }

    /// Runs `stead …` on a host, which is what a person types there.
    #[must_use]
    pub fn stead(&self, host: usize, words: &[&str]) -> Said {
        self.all[host].run(&[&["stead"], words].concat())
    }

    /// The same; it must succeed.
    pub fn must(&self, host: usize, words: &[&str]) -> Said {
        let said = self.stead(host, words);
        assert_eq!(said.code, 0, "host {}: {words:?}: {}{}", host + 1, said.out, said.err);
        said
    }

    /// A token that a host makes, with which another one joins.
    #[must_use]
    pub fn token(&self, host: usize) -> String {
        self.must(host, &["cluster", "token"]).out.trim().to_owned()
    }

    /// A host joins by a token of the first one; what it told.
    pub fn joins(&self, host: usize) -> String {
        self.must(host, &["cluster", "join", &self.token(0)]).err
    }

    /// `stead apply -` on a host, with what it reads.
    pub fn declares(&self, host: usize, text: &str) {
        let script = "printf %s \"$1\" | stead apply - --wait";
        self.all[host].must(&["sh", "-c", script, "sh", text]);
    }

    /// What a host says of the cluster; nothing: it does not answer.
    #[must_use]
    pub fn status(&self, host: usize) -> Value {
        let said = self.stead(host, &["--json", "status"]);
        serde_json::from_str(&said.out).unwrap_or_default()
    }

    /// Waits until so many nodes vote and hear each other on both networks, as a host sees it.
    pub fn all_vote(&self, host: usize, count: usize) {
        wait(&format!("{count} nodes vote"), || {
            let view = self.status(host);
            let nodes = view["nodes"].as_array().cloned().unwrap_or_default();
            let links = |n: &Value| n["links"].as_array().unwrap().iter().all(|l| l["up"] == true);
            let fine = |n: &&Value| n["votes"] == true && n["state"] == "up" && links(n);
            let quorum = view["quorum"]["has_quorum"] == true;
            if quorum && nodes.iter().filter(fine).count() == count {
                Ok(())
            } else {
                Err(view.to_string())
            }
        });
    }

    /// Whether a host has an address.
    #[must_use]
    pub fn has(&self, host: usize, address: &str) -> bool {
        self.all[host].has_address(address)
    }

    /// Nothing of a cluster stays on a host that is in none any more: no process, mount, rule or
    /// file, nor the address of its group.
    pub fn assert_gone(&self, host: usize, address: &str) {
        let machine = &self.all[host];
        for role in [Role::Guard, Role::Service, Role::Monitor] {
            assert!(processes::below(machine.init(), role).is_empty(), "{role:?} is left");
        }
        assert!(!machine.has_address(address), "the address is left");
        let mounts = machine.must(&["cat", "/proc/self/mounts"]);
        // What is mounted and where; options may name folders of whoever tests.
        let of_stead = |line: &&str| line.split(' ').take(2).any(|word| word.contains("stead"));
        assert_eq!(mounts.lines().find(of_stead), None, "a mount is left");
        assert!(!machine.must(&["nft", "list", "ruleset"]).contains("stead"), "rules are left");
        let left = "find /etc/stead /var/lib/stead /run/stead -type f 2>/dev/null; true";
        assert_eq!(machine.must(&["sh", "-c", left]), "", "files are left");
    }

    fn connect(&self, machine: &Machine, host: usize) {
        let init = machine.init();
        for network in NETWORKS {
            let cable = format!("link add h{host}n{network} type veth peer name eth{network}");
            self.ip(&format!("{cable} netns {init}"));
            self.ip(&format!("link set h{host}n{network} master br{network} up"));
            let address = format!("10.90.{network}.{host}/24");
            machine.must(&["ip", "address", "add", &address, "dev", &format!("eth{network}")]);
            machine.must(&["ip", "link", "set", &format!("eth{network}"), "up"]);
        }
    }

    fn ip(&self, words: &str) {
        let mut ip = Command::new("nsenter");
        ip.args(["-t", &self.switch.id().to_string(), "-n", "ip"]).args(words.split(' '));
        let output = ip.output().unwrap();
        assert!(output.status.success(), "ip {words}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        self.switch.kill().ok();
        self.switch.wait().ok();
    }
}
