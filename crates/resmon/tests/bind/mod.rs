//! A real name server on loopback: BIND of the package `bind9`, asked with `dig` of
//! `bind9-dnsutils`.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Zones that the key `clus` may change: a name's, and those of its addresses.
const ZONES: [&str; 3] = ["example.org", "1.9.10.in-addr.arpa", "9.0.d.f.ip6.arpa"];
/// A zone that nobody may change.
pub(crate) const LOCKED: &str = "locked.example";

/// A server that serves until it is dropped.
#[derive(Debug)]
pub(crate) struct Bind {
    folder: TempDir,
    /// Where it listens, whether or not it runs.
    pub(crate) address: SocketAddr,
    process: Option<Child>,
}

impl Bind {
    /// One that is not started yet; `None`, and said so, where the packages are not installed.
    pub(crate) fn set() -> Option<Self> {
        for (program, package) in [("named", "bind9"), ("dig", "bind9-dnsutils")] {
            if Command::new(program).arg("-v").output().is_err() {
                println!("skipped: no `{program}` (package `{package}`)");
                return None;
            }
        }
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = free.local_addr().unwrap();
        let bind = Self { folder: tempfile::tempdir().unwrap(), address, process: None };
        bind.write_key("clus.key", "clus", "a2V5IG9mIHRoZSBjbHVzdGVy");
        for zone in ZONES.into_iter().chain([LOCKED]) {
            let text = "$TTL 60\n@ SOA ns.example.org. root.example.org. 1 60 60 600 60\n\
                        @ NS ns.example.org.\n";
            fs::write(bind.path(zone), text).unwrap();
        }
        let more = "ns A 127.0.0.1\nby-hand A 10.9.1.99\nalias CNAME by-hand\n";
        let zone = fs::read_to_string(bind.path("example.org")).unwrap();
        fs::write(bind.path("example.org"), zone + more).unwrap();
        fs::write(bind.path("named.conf"), bind.configuration()).unwrap();
        Some(bind)
    }

    /// One that serves.
    pub(crate) fn start() -> Option<Self> {
        let mut bind = Self::set()?;
        bind.run();
        Some(bind)
    }

    fn configuration(&self) -> String {
        let folder = self.folder.path().display();
        let port = self.address.port();
        let zone = |name: &str, policy: &str| {
            format!("zone \"{name}\" {{ type primary; file \"{folder}/{name}\"; {policy} }};\n")
        };
        let open = ZONES.map(|name| zone(name, "update-policy { grant clus zonesub ANY; };"));
        format!(
            "options {{ directory \"{folder}\"; listen-on port {port} {{ 127.0.0.1; }};\n\
             listen-on-v6 {{ none; }}; pid-file none; session-keyfile none; recursion no;\n\
             allow-transfer {{ none; }}; dnssec-validation no; }};\n\
             controls {{ }};\ninclude \"{folder}/clus.key\";\n{}{}",
            open.concat(),
            zone(LOCKED, "")
        )
    }

    /// Writes a key file that only its owner may read; gives its path.
    pub(crate) fn write_key(&self, file: &str, name: &str, secret: &str) -> PathBuf {
        let path = self.path(file);
        let text = format!("key \"{name}\" {{ algorithm hmac-sha256; secret \"{secret}\"; }};\n");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    /// A path in its folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts it and waits until it answers.
    pub(crate) fn run(&mut self) {
        let log = fs::File::create(self.path("log")).unwrap();
        let mut command = Command::new("named");
        command.arg("-g").arg("-n1").arg("-c").arg(self.path("named.conf"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.process = Some(command.spawn().unwrap());
        self.until("example.org", "SOA", "ns.example.org. root.example.org. ");
    }

    /// Ends it.
    pub(crate) fn halt(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().ok();
            process.wait().ok();
        }
    }

    /// What a client of the server is told, a line each, sorted: time to live and data.
    pub(crate) fn dig(&self, name: &str, kind: &str) -> Vec<String> {
        let port = self.address.port().to_string();
        let mut command = Command::new("dig");
        command.args(["@127.0.0.1", "-p", &port, "+noall", "+answer", "+norecurse", "+tries=1"]);
        let said = command.args(["+time=2", "-t", kind, name]).output().unwrap();
        let text = String::from_utf8(said.stdout).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with(';'));
        let shown = lines.map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            format!("{} {}", words[1], words[4..].join(" "))
        });
        let mut shown: Vec<String> = shown.collect();
        shown.sort();
        shown
    }

    /// Waits until a client is told something with this in it; an empty text: nothing.
    pub(crate) fn until(&self, name: &str, kind: &str, wanted: &str) {
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            let told = self.dig(name, kind);
            let fits = told.iter().any(|line| line.contains(wanted));
            if fits || (wanted.is_empty() && told.is_empty()) {
                return;
            }
            let log = fs::read_to_string(self.path("log")).unwrap_or_default();
            assert!(Instant::now() < end, "{name} {kind} is {told:?}, not {wanted}:\n{log}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Bind {
    fn drop(&mut self) {
        self.halt();
    }
}
