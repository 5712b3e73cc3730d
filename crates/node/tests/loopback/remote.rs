//! Administration from other machines: who gets in, what it may, and how that ends.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use rustls::pki_types::ServerName;
use stead_api::client::Wire;
use stead_api::{Client, ClientError};
use stead_model::config::QuorumMode;
use stead_model::reason::Code;
use stead_model::remote::RemoteAdmin;
use stead_model::request::Request;
use stead_model::role::Role;
use stead_model::{AdminId, NodeId};
use stead_node::remote;
use stead_trust::{ADMIN_PROTOCOL, AdminCredentials, Authority, Issued};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::world::{WAIT, World, alone, credentials};

const PORT: u16 = 17_640;

fn address() -> SocketAddr {
    SocketAddr::from(([127, 78, 2, 1], remote::port(PORT)))
}

fn issue(authority: &Authority, name: &str, role: Role) -> Issued {
    authority.issue_admin(role, &AdminId::from(name), SystemTime::now()).unwrap()
}

fn client(issued: &Issued, authority: &Authority) -> Client {
    let file = AdminCredentials::file(issued, authority.certificate_pem());
    remote::client(address(), &Arc::new(AdminCredentials::from_file(&file).unwrap()))
}

fn set(world: &World, admin: &RemoteAdmin, is_named: bool) {
    let (key, value) = admin.entry();
    let request = Request::SetKey { key, value: is_named.then_some(value) };
    world.runtime.block_on(world.nodes[0].client().request(&request)).unwrap();
}

/// Has the cluster name a certificate.
fn name(world: &World, issued: &Issued, (who, role): (&str, Role)) -> RemoteAdmin {
    let certificate = issued.fingerprint().unwrap().to_string();
    let admin = RemoteAdmin { admin: who.into(), role, certificate };
    set(world, &admin, true);
    admin
}

/// Asks until there is an answer: the port opens a moment after the first one may ask.
fn answered(world: &World, client: &Client) -> NodeId {
    let end = Instant::now() + WAIT;
    loop {
        match world.runtime.block_on(client.status()) {
            Ok(view) => return view.node,
            Err(error) => assert!(Instant::now() < end, "{error}"),
        }
    }
}

fn is_denied<T: std::fmt::Debug>(answer: Result<T, ClientError>) {
    match answer {
        Err(ClientError::Refused(reason)) => assert_eq!(reason.code, Code::Denied, "{reason}"),
        other => panic!("{other:?}"),
    }
}

fn gets_in(world: &World, client: &Client) -> bool {
    match world.runtime.block_on(client.status()) {
        Ok(_) => true,
        Err(ClientError::Unreachable { .. } | ClientError::Broken { .. }) => false,
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn whom_the_cluster_names_gets_in_with_its_role_and_nobody_else_does() {
    let _alone = alone();
    let world = World::new(1, QuorumMode::NodeMajority, PORT);
    world.one_leader();
    let closed = std::net::TcpStream::connect(address()).unwrap_err();
    assert_eq!(closed.kind(), io::ErrorKind::ConnectionRefused, "nobody may ask: no port");

    let (ops, eve) = ("ops", "eve");
    let issued = issue(&world.authority, ops, Role::Operator);
    let operator = name(&world, &issued, (ops, Role::Operator));
    let own = client(&issued, &world.authority);
    assert_eq!(answered(&world, &own), NodeId(1));
    let change = Request::SetKey { key: "k".into(), value: Some("v".into()) };
    is_denied(world.runtime.block_on(own.request(&change)));

    let unnamed = issue(&world.authority, eve, Role::Admin);
    assert!(!gets_in(&world, &client(&unnamed, &world.authority)), "the cluster names it not");
    let again = issue(&world.authority, ops, Role::Operator);
    assert!(!gets_in(&world, &client(&again, &world.authority)), "another certificate of a name");
    let promoted = issue(&world.authority, ops, Role::Admin);
    name(&world, &promoted, (eve, Role::Admin));
    assert!(!gets_in(&world, &client(&promoted, &world.authority)), "it is named for another");

    let cluster = world.authority.cluster_id();
    let forged = Authority::create(cluster, SystemTime::now()).unwrap();
    let alien = issue(&forged, ops, Role::Operator);
    name(&world, &alien, (eve, Role::Operator));
    assert!(!gets_in(&world, &client(&alien, &world.authority)), "another authority");
    let node = world.authority.issue(NodeId(1), SystemTime::now()).unwrap();
    let file = AdminCredentials::file(&node, world.authority.certificate_pem());
    assert!(AdminCredentials::from_file(&file).is_err(), "a node is no admin");
    assert!(!gets_in(&world, &as_node(&world.authority)));
    assert_eq!(answered(&world, &own), NodeId(1), "the named one still gets in");

    set(&world, &operator, false);
    let end = Instant::now() + WAIT;
    while gets_in(&world, &own) {
        assert!(Instant::now() < end, "it is named no more");
    }
}

/// A client that proves itself with the certificate of a node.
fn as_node(authority: &Authority) -> Client {
    let mut config = (*credentials(authority, 1).client().unwrap()).clone();
    config.alpn_protocols = vec![ADMIN_PROTOCOL.to_vec()];
    let connector = TlsConnector::from(Arc::new(config));
    Client::over("a node".to_owned(), move || {
        let connector = connector.clone();
        Box::pin(async move {
            let stream = TcpStream::connect(address()).await?;
            let stream = connector.connect(ServerName::from(address().ip()), stream).await?;
            Ok(Box::new(stream) as Box<dyn Wire>)
        })
    })
}

#[test]
fn what_is_asked_from_elsewhere_is_audited_and_ends_with_the_right() {
    let _alone = alone();
    let world = World::new(1, QuorumMode::NodeMajority, PORT);
    world.one_leader();
    let issued = issue(&world.authority, "boss", Role::Admin);
    let admin = name(&world, &issued, ("boss", Role::Admin));
    let boss = client(&issued, &world.authority);
    answered(&world, &boss);
    let change = Request::SetKey { key: "k".into(), value: Some("v".into()) };
    world.runtime.block_on(boss.request(&change)).unwrap();
    world.runtime.block_on(async {
        let mut log = world.nodes[0].client().follow_audit(2).await.unwrap();
        let entry = log.next().await.unwrap().unwrap();
        assert!(entry.who.starts_with("`boss` from 127.0.0.1:"), "{}", entry.who);
        assert!(entry.who.ends_with(" by certificate"), "{}", entry.who);
        assert_eq!((entry.role, entry.what.as_str()), (Some(Role::Admin), "set registry key `k`"));
    });
    let mut open = world.runtime.block_on(boss.follow(0)).unwrap();
    set(&world, &admin, false);
    let ended = world.runtime.block_on(async {
        let end = async { while let Ok(Some(_)) = open.next().await {} };
        tokio::time::timeout(WAIT, end).await
    });
    assert!(ended.is_ok(), "a connection that was open ends with the right");
}
