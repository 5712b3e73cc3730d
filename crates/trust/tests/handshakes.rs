//! Who comes into a connection with whom (issue 5: wrong authority, no certificate; A-010, D16).
//!
//! Two ends of TLS in memory: what one writes the other reads, until both agree or one refuses.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::sync::Arc;
use std::time::SystemTime;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, Connection, Error, ServerConfig, ServerConnection};
use stead_model::role::Role;
use stead_model::{AdminId, NodeId};
use stead_trust::{
    ADMIN_PROTOCOL, AdminCredentials, AdminIdentity, Authority, Credentials, Fingerprint, Identity,
    NODE_PROTOCOL, pinned_client,
};

fn authority(cluster: u64) -> Authority {
    Authority::create(cluster, SystemTime::now()).unwrap()
}

fn node(authority: &Authority, number: u16) -> Credentials {
    node_that_trusts(authority, number, authority.certificate_pem())
}

fn node_that_trusts(authority: &Authority, number: u16, authorities: &str) -> Credentials {
    let issued = authority.issue(NodeId(number), SystemTime::now()).unwrap();
    Credentials::from_pem(authorities, &issued.certificate, &issued.key).unwrap()
}

/// Both ends after the handshake, or what the first one to refuse says.
fn shake(
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
) -> Result<(ClientConnection, ServerConnection), Error> {
    let name = ServerName::try_from("node.invalid").unwrap();
    let mut client = Connection::Client(ClientConnection::new(client, name).unwrap());
    let mut server = Connection::Server(ServerConnection::new(server).unwrap());
    for _ in 0..10 {
        carry(&mut client, &mut server)?;
        carry(&mut server, &mut client)?;
    }
    assert!(!client.is_handshaking() && !server.is_handshaking(), "it did not come to an end");
    match (client, server) {
        (Connection::Client(client), Connection::Server(server)) => Ok((client, server)),
        _ => unreachable!("made above"),
    }
}

fn carry(from: &mut Connection, to: &mut Connection) -> Result<(), Error> {
    let mut bytes = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut bytes).unwrap();
    }
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        to.read_tls(&mut rest).unwrap();
        to.process_new_packets()?;
    }
    Ok(())
}

#[test]
fn nodes_of_one_cluster_know_each_other_by_their_certificates() {
    let cluster = authority(7);
    let (one, two) = (node(&cluster, 1), node(&cluster, 2));
    let (client, server) = shake(one.client().unwrap(), two.server().unwrap()).unwrap();
    let seen = |shown| Identity::of(shown).unwrap();
    assert_eq!(seen(client.peer_certificates()), two.identity());
    assert_eq!(seen(server.peer_certificates()), one.identity());
    assert_eq!(one.identity(), Identity { cluster_id: 7, node: NodeId(1) });
    assert_eq!(client.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
}

#[test]
fn another_authority_is_refused_on_both_sides_even_with_the_same_cluster_number() {
    let (own, forged) = (authority(7), authority(7));
    let (one, impostor) = (node(&own, 1), node(&forged, 2));
    assert!(shake(impostor.client().unwrap(), one.server().unwrap()).is_err());
    assert!(shake(one.client().unwrap(), impostor.server().unwrap()).is_err());
    // It trusts the right authority, its own certificate is still not of it.
    let sly = node_that_trusts(&forged, 2, own.certificate_pem());
    let refused = shake(sly.client().unwrap(), one.server().unwrap()).unwrap_err();
    assert!(matches!(refused, Error::InvalidCertificate(_)), "{refused}");
}

#[test]
fn without_a_certificate_nobody_becomes_a_peer() {
    let cluster = authority(7);
    let one = node(&cluster, 1);
    let mut pinned = ClientConfig::clone(&pinned_client(cluster.fingerprint()).unwrap());
    assert!(shake(Arc::new(pinned.clone()), one.server().unwrap()).is_err(), "wrong protocol");
    pinned.alpn_protocols = vec![NODE_PROTOCOL.to_vec()];
    let refused = shake(Arc::new(pinned), one.server().unwrap()).unwrap_err();
    assert!(matches!(refused, Error::NoCertificatesPresented), "{refused}");
}

#[test]
fn a_node_that_joins_talks_only_to_the_authority_of_its_token() {
    let (own, other) = (authority(7), authority(7));
    let server = || node(&own, 1).admission_server().unwrap();
    let pinned = |pin: Fingerprint| pinned_client(pin).unwrap();
    let (client, _) = shake(pinned(own.fingerprint()), server()).unwrap();
    assert_eq!(Identity::of(client.peer_certificates()).unwrap().node, NodeId(1));
    let refused = shake(pinned(other.fingerprint()), server()).unwrap_err();
    assert!(matches!(refused, Error::InvalidCertificate(_)), "{refused}");
    // The certificate of the right authority is public; showing it proves nothing.
    let liar = node_that_trusts(&other, 1, own.certificate_pem());
    assert!(shake(pinned(own.fingerprint()), liar.admission_server().unwrap()).is_err());
}

#[test]
fn while_one_authority_follows_another_nodes_of_both_are_trusted() {
    let (old, new) = (authority(7), authority(7));
    let both = format!("{}{}", new.certificate_pem(), old.certificate_pem());
    let late = node_that_trusts(&old, 1, &both);
    let early = node_that_trusts(&new, 2, &both);
    shake(late.client().unwrap(), early.server().unwrap()).unwrap();
    shake(early.client().unwrap(), late.server().unwrap()).unwrap();
    let three = format!("{both}{}", authority(7).certificate_pem());
    let issued = new.issue(NodeId(3), SystemTime::now()).unwrap();
    let refused = Credentials::from_pem(&three, &issued.certificate, &issued.key).unwrap_err();
    assert!(refused.to_string().contains("at most 2"), "{refused}");
}

#[test]
fn no_clock_ends_a_cluster() {
    // Made under a clock at its beginning, and one that runs a hundred years ahead.
    for made in
        [SystemTime::UNIX_EPOCH, SystemTime::now() + std::time::Duration::from_secs(3 << 30)]
    {
        let cluster = Authority::create(7, made).unwrap();
        let issued = |number| {
            let issued = cluster.issue(NodeId(number), made).unwrap();
            let known = cluster.certificate_pem();
            Credentials::from_pem(known, &issued.certificate, &issued.key).unwrap()
        };
        shake(issued(1).client().unwrap(), issued(2).server().unwrap()).unwrap();
    }
}

/// A file of somebody who asks from another machine, as the client of `server` it makes.
fn admin(issued: &stead_trust::Issued, authority: &Authority) -> AdminCredentials {
    let file = AdminCredentials::file(issued, authority.certificate_pem());
    AdminCredentials::from_file(&file).unwrap()
}

#[test]
fn admins_and_nodes_cannot_stand_in_for_each_other() {
    let cluster = authority(7);
    let one = node(&cluster, 1);
    let ops = AdminId::from("ops");
    let issued = cluster.issue_admin(Role::Operator, &ops, SystemTime::now()).unwrap();
    let asks = admin(&issued, &cluster);
    assert_eq!(asks.identity().role, Role::Operator);

    let (client, server) = shake(asks.client(), one.admin_server().unwrap()).unwrap();
    assert_eq!(Identity::of(client.peer_certificates()).unwrap(), one.identity());
    let (found, certificate) = AdminIdentity::of(server.peer_certificates()).unwrap();
    assert_eq!(&found, asks.identity());
    assert_eq!(certificate, issued.fingerprint().unwrap());
    assert!(Identity::of(server.peer_certificates()).is_err(), "it is no node");

    let mut sly = (*one.client().unwrap()).clone();
    sly.alpn_protocols = vec![ADMIN_PROTOCOL.to_vec()];
    let (_, server) = shake(Arc::new(sly), one.admin_server().unwrap()).unwrap();
    assert!(AdminIdentity::of(server.peer_certificates()).is_err(), "a node is no admin");
    assert!(shake(asks.client(), one.server().unwrap()).is_err(), "it speaks no protocol of nodes");

    let as_node =
        Credentials::from_pem(cluster.certificate_pem(), &issued.certificate, &issued.key);
    assert!(as_node.is_err(), "nor can it be installed as one");
    let forged = authority(7);
    let alien = admin(&forged.issue_admin(Role::Admin, &ops, SystemTime::now()).unwrap(), &cluster);
    assert!(shake(alien.client(), one.admin_server().unwrap()).is_err());
    let fooled = admin(&issued, &forged);
    assert!(shake(fooled.client(), one.admin_server().unwrap()).is_err(), "it knows no such node");
}
