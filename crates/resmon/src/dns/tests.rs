//! What is published, on a real server.

#[path = "../../tests/bind/mod.rs"]
mod bind;

use stead_model::Epoch;

use super::exchange::Server;
use super::key::Key;
use super::{Content, Marker, Name, Pointers, Registration, Removal, Trouble, message, sign};
use bind::{Bind, LOCKED};

fn registration(bind: &Bind, epoch: u64) -> Registration {
    Registration {
        name: "web".into(),
        zone: "example.org".into(),
        servers: vec![bind.address],
        key: Some(bind.path("clus.key")),
        pointers: Pointers::Published,
        marker: Marker {
            cluster: 7,
            group: "web".into(),
            resource: "web-name".into(),
            epoch: Epoch(epoch),
        },
    }
}

fn content(addresses: &[&str], ttl_s: u32) -> Content {
    let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
    Content { addresses, ttl_s }
}

fn says(trouble: &Trouble, text: &str) {
    assert!(trouble.to_string().contains(text), "{trouble}");
}

const NONE: [&str; 0] = [];

#[test]
fn a_name_is_published_changed_and_removed() {
    let Some(bind) = Bind::start() else { return };
    let own = registration(&bind, 3);
    assert_eq!(own.publish(&content(&["10.9.1.25", "fd09::25"], 1200)).unwrap(), NONE);
    assert_eq!(bind.dig("web.example.org", "A"), ["1200 10.9.1.25"]);
    assert_eq!(bind.dig("web.example.org", "AAAA"), ["1200 fd09::25"]);
    assert_eq!(bind.dig("25.1.9.10.in-addr.arpa", "PTR"), ["1200 web.example.org."]);
    let six = "5.2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.9.0.d.f.ip6.arpa";
    assert_eq!(bind.dig(six, "PTR"), ["1200 web.example.org."]);
    let marker = "\"stead cluster=0000000000000007 group=web resource=web-name epoch=3\"";
    assert_eq!(bind.dig("_stead.web.example.org", "TXT"), [format!("1200 {marker}")]);
    // Once more: nothing is to be done, and no serial number is used up for it.
    let serial = bind.dig("example.org", "SOA");
    assert_eq!(own.publish(&content(&["10.9.1.25", "fd09::25"], 1200)).unwrap(), NONE);
    assert_eq!(bind.dig("example.org", "SOA"), serial);

    // The next owner, another address, another time to live: what was before is gone.
    let next = registration(&bind, 4);
    assert_eq!(next.publish(&content(&["10.9.1.26"], 60)).unwrap(), NONE);
    assert_eq!(bind.dig("web.example.org", "A"), ["60 10.9.1.26"]);
    assert_eq!(bind.dig("web.example.org", "AAAA"), NONE);
    assert_eq!(bind.dig("25.1.9.10.in-addr.arpa", "PTR"), NONE);
    assert_eq!(bind.dig(six, "PTR"), NONE);
    assert_eq!(bind.dig("26.1.9.10.in-addr.arpa", "PTR"), ["60 web.example.org."]);

    // The former owner comes too late, with whatever it wants.
    says(&own.publish(&content(&["10.9.1.25"], 60)).unwrap_err(), "epoch=4 has published it since");
    assert!(matches!(own.remove(), Err(Trouble::Later(_))));
    assert_eq!(bind.dig("web.example.org", "A"), ["60 10.9.1.26"]);

    assert_eq!(next.remove().unwrap(), Removal::Removed);
    for (name, kind) in [
        ("web.example.org", "A"),
        ("_stead.web.example.org", "TXT"),
        ("26.1.9.10.in-addr.arpa", "PTR"),
    ] {
        assert_eq!(bind.dig(name, kind), NONE, "{name}");
    }
    assert_eq!(next.remove().unwrap(), Removal::Nothing);
}

#[test]
fn what_is_somebody_elses_stays() {
    let Some(bind) = Bind::start() else { return };
    let named = |name: &str| Registration { name: name.into(), ..registration(&bind, 3) };
    let wanted = content(&["10.9.1.25"], 60);
    says(&named("by-hand").publish(&wanted).unwrap_err(), "somebody else gave it 10.9.1.99");
    assert!(matches!(named("by-hand").remove(), Err(Trouble::Foreign(_))));
    says(&named("alias").publish(&wanted).unwrap_err(), "it is an alias (CNAME)");
    assert_eq!(bind.dig("by-hand.example.org", "A"), ["60 10.9.1.99"]);
    assert_eq!(bind.dig("alias.example.org", "CNAME"), ["60 by-hand.example.org."]);

    // Another cluster.
    let own = registration(&bind, 3);
    own.publish(&wanted).unwrap();
    let marker = Marker { cluster: 8, ..own.marker.clone() };
    let theirs = Registration { marker, ..own.clone() };
    says(&theirs.publish(&content(&["10.9.1.50"], 60)).unwrap_err(), "cluster=0000000000000007");
    assert_eq!(bind.dig("web.example.org", "A"), ["60 10.9.1.25"]);
    // A name that an address has already stays, and is told; the name itself is published.
    let beside = named("second").publish(&wanted).unwrap();
    assert!(beside[0].contains("has the name `web.example.org"), "{beside:?}");
    assert_eq!(bind.dig("second.example.org", "A"), ["60 10.9.1.25"]);
    assert_eq!(bind.dig("25.1.9.10.in-addr.arpa", "PTR"), ["60 web.example.org."]);
    // Removing the second takes nothing from the first.
    assert_eq!(named("second").remove().unwrap(), Removal::Removed);
    assert_eq!(bind.dig("25.1.9.10.in-addr.arpa", "PTR"), ["60 web.example.org."]);
    // An address whose zone is nowhere here.
    let beside = own.publish(&content(&["192.0.2.9"], 60)).unwrap();
    assert!(beside[0].contains("192.0.2.9 does not get its name"), "{beside:?}");
}

#[test]
fn a_server_that_says_no_is_told_with_what_to_do() {
    let Some(bind) = Bind::start() else { return };
    let own = registration(&bind, 3);
    let wanted = content(&["10.9.1.25"], 60);
    let with = |key: std::path::PathBuf| Registration { key: Some(key), ..own.clone() };
    let key = bind.write_key("unknown.key", "nobody", "a2V5IG9mIHRoZSBjbHVzdGVy");
    says(&with(key).publish(&wanted).unwrap_err(), "does not know key `nobody` with hmac-sha256");
    let key = bind.write_key("wrong.key", "clus", "d3Jvbmcgd3Jvbmcgd3Jvbmcg");
    says(&with(key).publish(&wanted).unwrap_err(), "another secret for key `clus`");
    says(&with(bind.path("nowhere")).publish(&wanted).unwrap_err(), "cannot be read");
    let none = Registration { key: None, ..own.clone() };
    says(&none.publish(&wanted).unwrap_err(), "it takes no update without a key");
    let locked = Registration { zone: LOCKED.into(), ..own.clone() };
    says(&locked.publish(&wanted).unwrap_err(), "no `update-policy` that grants this");
    let elsewhere = Registration { zone: "example.com".into(), ..own.clone() };
    says(&elsewhere.publish(&wanted).unwrap_err(), "refuses (REFUSED)");
    // A name in a zone that is a part of a served one only.
    let below = Registration { zone: "deep.example.org".into(), ..own.clone() };
    says(&below.publish(&wanted).unwrap_err(), "is not authoritative for the zone (NOTAUTH)");
    assert_eq!(bind.dig("web.example.org", "A"), NONE);
    // A name outside of its zone, which no registration makes.
    let key = Key::read(&bind.path("clus.key")).unwrap();
    let server = Server { address: bind.address, key: Some(&key), now_s: sign::now_s };
    let (zone, name): (Name, Name) =
        ("example.org".parse().unwrap(), "web.example.net".parse().unwrap());
    let step = message::Step::Add(name, 60, message::Data::Text("x".into()));
    let answer = server.ask(message::update(&zone, &[], &[step])).unwrap();
    says(&server.refused(answer.header().rcode()), "does not lie in the zone (NOTZONE)");
}

#[test]
fn clocks_that_differ_too_much_are_named() {
    let Some(bind) = Bind::start() else { return };
    let key = Key::read(&bind.path("clus.key")).unwrap();
    let name: Name = "web.example.org".parse().unwrap();
    let ask = |now_s| {
        let server = Server { address: bind.address, key: Some(&key), now_s };
        server.ask(message::question(&name, domain::base::iana::Rtype::A))
    };
    ask(sign::now_s).unwrap();
    let why = ask(|| sign::now_s() - 3600).unwrap_err();
    says(&why, "differ by 3600 s (BADTIME): the node's one is behind");
    let why = ask(|| sign::now_s() + 1000).unwrap_err();
    says(&why, "differ by 1000 s (BADTIME): the server's one is behind");
}

#[test]
fn a_server_that_is_down_is_silent_and_the_next_is_asked() {
    let Some(mut bind) = Bind::set() else { return };
    let own = registration(&bind, 3);
    let wanted = content(&["10.9.1.25"], 60);
    let why = own.publish(&wanted).unwrap_err();
    assert!(matches!(why, Trouble::Silent { .. }), "{why}");
    says(&why, "connection refused");
    bind.run();
    let nobody = "127.0.0.2:9".parse().unwrap();
    let two = Registration { servers: vec![nobody, bind.address], ..own };
    assert_eq!(two.publish(&wanted).unwrap(), NONE);
    assert_eq!(bind.dig("web.example.org", "A"), ["60 10.9.1.25"]);
}
