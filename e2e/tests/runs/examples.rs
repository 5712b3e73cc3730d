//! The examples, by the command that the documentation names: they come online, answer, and
//! answer again with what they were told when their node has lost power.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use e2e::program::{self, Said};
use e2e::{tell, wait};
use stead_lab::example::Example;

/// A lab made by command; gone at the end whatever happens.
struct Shown {
    home: tempfile::TempDir,
    name: &'static str,
}

impl Shown {
    /// `None` where this user or machine cannot run it, which is told.
    fn up(name: &'static str) -> Option<Self> {
        let example = Example::find(name).unwrap();
        if !rustix::process::geteuid().is_root() {
            tell(&format!("SKIPPED: example {name} is for root"));
            return None;
        }
        if let Some(need) = example.lacks() {
            tell(&format!("SKIPPED: this machine has no {}", need.program));
            return None;
        }
        let shown = Self { home: tempfile::tempdir().unwrap(), name };
        let said = shown.stead(&["lab", "up", name, "--example", name]);
        assert_eq!(said.code, 0, "{}", said.err);
        for suggestion in &example.next {
            assert!(said.err.contains(&suggestion.about), "{}", said.err);
        }
        assert!(said.err.contains("stead lab crash n"), "{}", said.err);
        Some(shown)
    }

    fn stead(&self, words: &[&str]) -> Said {
        program::stead(self.home.path(), words)
    }

    /// Waits until a command in the lab's client prints something with this in it.
    fn client_sees(&self, command: &[&str], wanted: &str) {
        let words = [&["lab", "exec", "client", "--"], command].concat();
        wait(&format!("{command:?} prints {wanted}"), || {
            let said = self.stead(&words);
            if said.out.contains(wanted) { Ok(()) } else { Err(said.out + &said.err) }
        });
    }

    /// Cuts the power of the owner; the other one is waited for by the next question.
    fn crash_owner(&self, group: &str) {
        let said = self.stead(&["--json", "group", "show", group]);
        let view: serde_json::Value = serde_json::from_str(&said.out).unwrap();
        let owner = view["owner"].to_string();
        let said = self.stead(&["lab", "crash", &format!("n{owner}")]);
        assert_eq!(said.code, 0, "{}", said.err);
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        let said = self.stead(&["lab", "down", self.name]);
        assert!(said.code == 0 || std::thread::panicking(), "{}", said.err);
    }
}

#[test]
fn example_postgresql() {
    let Some(lab) = Shown::up("postgresql") else { return };
    let psql = |statement| ["psql", "-h", "10.77.2.50", "-U", "postgres", "-tc", statement];
    lab.client_sees(&psql("create table word as select 'kept' as said"), "SELECT 1");
    lab.crash_owner("db");
    lab.client_sees(&psql("select said from word"), "kept");
}

#[test]
fn example_redis() {
    let Some(lab) = Shown::up("redis") else { return };
    let redis = |words: &[&'static str]| [&["redis-cli", "-h", "10.77.2.70"], words].concat();
    lab.client_sees(&redis(&["set", "word", "kept"]), "OK");
    lab.crash_owner("cache");
    lab.client_sees(&redis(&["get", "word"]), "kept");
}

#[test]
fn example_nginx() {
    let Some(lab) = Shown::up("nginx") else { return };
    let said = lab.stead(&["--json", "lab", "open", "web"]);
    let opened: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    let local: SocketAddr = opened["local"].as_str().unwrap().parse().unwrap();
    serves_a_page(local);
    lab.crash_owner("web");
    serves_a_page(local);
}

/// Waits until nginx serves its first page.
fn serves_a_page(local: SocketAddr) {
    wait("a page of nginx", || {
        let page = page(local).map_err(|error| error.to_string())?;
        if page.contains("Welcome to nginx") { Ok(()) } else { Err(page) }
    });
}

fn page(local: SocketAddr) -> io::Result<String> {
    let limit = Duration::from_secs(1);
    let mut stream = TcpStream::connect_timeout(&local, limit)?;
    stream.set_read_timeout(Some(limit))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut page = String::new();
    stream.read_to_string(&mut page)?;
    Ok(page)
}

#[test]
fn example_that_is_none() {
    let home = tempfile::tempdir().unwrap();
    let said = program::stead(home.path(), &["lab", "up", "--example", "teapot"]);
    assert_eq!(said.code, 2, "{}", said.err);
    assert!(said.err.contains("`postgresql`"), "{}", said.err);
}
