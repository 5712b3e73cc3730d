//! Somebody is let ask from other machines: the file, and what the cluster is told.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

#[expect(dead_code, reason = "made for the screens")]
mod fake;

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::SystemTime;

use fake::FakeNode;
use stead_model::NodeId;
use stead_model::remote::RemoteAdmin;
use stead_model::request::Request;
use stead_model::role::Role;
use stead_model::view::View;
use stead_trust::{AdminCredentials, Authority, Pki, Secret};

#[test]
fn an_added_admin_has_a_file_that_the_cluster_names_and_that_only_its_owner_reads() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::create(7, SystemTime::now()).unwrap();
    let pki = Pki::below(&folder.path().join("etc/stead"));
    pki.install(&authority, &authority.issue(NodeId(1), SystemTime::now()).unwrap()).unwrap();
    let node = FakeNode::new(View::default());
    let socket = folder.path().join("n1.sock");
    let _serving = fake::Served::start(folder.path(), &[(1, Arc::clone(&node))]);
    let out = folder.path().join("ops.pem");
    let typed = |words: &[&str]| -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stead"));
        command.args(words).env("STEAD_ROOT", folder.path()).env("STEAD_API", &socket);
        command.output().unwrap()
    };
    let add = ["admin", "add", "ops", "--role", "operator", "--out", out.to_str().unwrap()];
    let said = typed(&add);
    assert!(said.status.success(), "{said:?}");
    assert_eq!(std::fs::metadata(&out).unwrap().permissions().mode() & 0o777, 0o600);
    let text = std::fs::read_to_string(&out).unwrap();
    let made = AdminCredentials::from_file(&Secret::new(text)).unwrap();
    assert_eq!((made.identity().role, made.identity().cluster_id), (Role::Operator, 7));
    let asked = node.asked.lock().unwrap().pop().unwrap();
    let Request::SetKey { key, value: Some(value) } = &asked else { panic!("{asked:?}") };
    let named = RemoteAdmin::read(key, value).unwrap();
    assert_eq!((named.admin.as_str(), named.role), ("ops", Role::Operator));

    let said = typed(&add);
    assert_eq!(said.status.code(), Some(1), "a file is not written over");
    assert!(node.asked.lock().unwrap().is_empty(), "{said:?}");
    let elsewhere = ["--host", "127.0.0.1:1", "--identity", out.to_str().unwrap(), "status"];
    let said = typed(&elsewhere);
    assert_eq!(said.status.code(), Some(3), "{said:?}");
    assert!(String::from_utf8_lossy(&said.stderr).contains("cannot ask `127.0.0.1:1`"));
}
