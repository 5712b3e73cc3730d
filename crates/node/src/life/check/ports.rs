//! Whether this host can listen on the ports of a cluster, and whether it and the members reach
//! each other there, both ways, on every network.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use stead_model::NodeId;
use stead_model::config::{NodeAddress, NodeConfig};
use stead_model::reason::Reason;

use super::super::line::{Line, confused};
use super::{Finding, REACHED_WITHIN};
use crate::admission;
use crate::admission::wire::{Answer, Ask, ECHO, Reached};

/// The echo looks this often whether it is still wanted.
const ECHO_TURN: Duration = Duration::from_millis(50);

/// One for each address.
pub(super) type Sockets = Vec<(TcpListener, UdpSocket)>;

/// The ports of a new cluster: that of the nodes, and the one on which others are let in.
pub(in crate::life) fn of_new_cluster(addresses: &[NodeAddress], port: u16) -> Finding {
    let Some(door) = admission::port(port) else {
        let text = format!("there is no port above {port} on which nodes could join");
        return Finding::bad("ports", text, "choose a lower one with `--port`");
    };
    match free(addresses, port).and_then(|_| free(addresses, door)) {
        Ok(_) => Finding::good("ports", format!("{port} and {door} are free")),
        Err(finding) => finding.or("`--port` takes another"),
    }
}

/// The port of the cluster on each address, as the node will have it.
pub(super) fn free(addresses: &[NodeAddress], port: u16) -> Result<Sockets, Finding> {
    let open = |own: &NodeAddress| {
        let at = SocketAddr::new(own.address, port);
        let both = TcpListener::bind(at).and_then(|tcp| Ok((tcp, UdpSocket::bind(at)?)));
        both.map_err(|error| {
            let text = format!("this host cannot listen on {at}: {error}");
            let fix = format!("`ss -tulpn 'sport = :{port}'` shows who does");
            Finding::bad("ports", text, fix)
        })
    };
    addresses.iter().map(open).collect()
}

/// Whether this host reaches the members' ports, from its own address on each network.
pub(super) fn to_members(addresses: &[NodeAddress], config: &NodeConfig) -> Vec<Finding> {
    let targets = config.nodes.iter().flat_map(|node| {
        node.addresses.iter().filter_map(|to| {
            let own = addresses.iter().find(|own| own.network == to.network)?;
            Some((node.id, own.address, SocketAddr::new(to.address, config.port)))
        })
    });
    std::thread::scope(|scope| {
        let look = |(node, own, to): (NodeId, IpAddr, SocketAddr)| {
            scope.spawn(move || (node, own, to, connects(own, to)))
        };
        let looking: Vec<_> = targets.map(look).collect();
        let found = looking.into_iter().filter_map(|thread| thread.join().ok());
        let one = |(node, own, to, result): Looked| match result {
            Ok(()) => Finding::good("ports", format!("{own} reaches {node} at {to} (TCP)")),
            Err(error) => {
                let text = format!("{own} does not reach {node} at {to} (TCP): {error}");
                let fix = format!("open port {} for TCP and UDP between all nodes", to.port());
                match node == config.node {
                    true => Finding::bad("ports", text, fix),
                    false => Finding::doubtful("ports", text, format!("{fix}, unless it is off")),
                }
            }
        };
        found.map(one).collect()
    })
}

/// Which node was called from which address to which one, and what came of it.
type Looked = (NodeId, IpAddr, SocketAddr, io::Result<()>);

fn connects(own: IpAddr, to: SocketAddr) -> io::Result<()> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(own, 0).into())?;
    socket.connect_timeout(&to.into(), REACHED_WITHIN)
}

/// Whether the member reaches this host, which sends datagrams back meanwhile.
pub(super) fn from_member(
    addresses: &[NodeAddress],
    sockets: Sockets,
    line: &mut Line,
) -> Result<Vec<Finding>, Reason> {
    let done = AtomicBool::new(false);
    let answer = std::thread::scope(|scope| {
        for (_, udp) in &sockets {
            scope.spawn(|| echo(udp, &done));
        }
        let answer = line.ask(&Ask::Reach(addresses.to_vec()));
        done.store(true, Ordering::Release);
        answer
    });
    let Answer::Reached(reached) = answer? else { return Err(confused()) };
    let (member, port) = (line.outline.config.node, line.outline.config.port);
    let mut findings = Vec::new();
    for Reached { network, tcp, udp } in reached {
        let Some(own) = addresses.iter().find(|own| own.network == network) else { continue };
        for (kind, why) in [("TCP", tcp), ("UDP", udp)] {
            let at = SocketAddr::new(own.address, port);
            findings.push(match why {
                None => Finding::good("ports", format!("{member} reaches {at} ({kind})")),
                Some(why) => Finding::bad(
                    "ports",
                    format!("{member} does not reach {at} ({kind}): {why}"),
                    format!("open port {port} for TCP and UDP between all nodes"),
                ),
            });
        }
    }
    Ok(findings)
}

fn echo(udp: &UdpSocket, done: &AtomicBool) {
    if udp.set_read_timeout(Some(ECHO_TURN)).is_err() {
        return;
    }
    let mut came = [0; 64];
    while !done.load(Ordering::Acquire) {
        if let Ok((bytes, from)) = udp.recv_from(&mut came)
            && came[..bytes] == *ECHO
        {
            // What does not get back is sent again.
            let _ = udp.send_to(ECHO, from);
        }
    }
}

#[cfg(test)]
mod tests {
    use stead_model::NetworkId;

    use super::super::Verdict;
    use super::*;

    #[test]
    fn a_port_that_somebody_has_is_found() {
        let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
        let own = [NodeAddress { network: NetworkId(1), address: [127, 0, 0, 1].into() }];
        let port = taken.local_addr().unwrap().port();
        let found = free(&own, port).unwrap_err();
        assert!(found.to_string().contains("cannot listen on 127.0.0.1"), "{found}");
        let found = of_new_cluster(&own, port);
        assert!(matches!(found.verdict, Verdict::Bad(_)), "{found}");
        assert!(found.to_string().ends_with("; `--port` takes another"), "{found}");
        let found = of_new_cluster(&own, u16::MAX);
        assert!(found.to_string().contains("no port above 65535"), "{found}");
    }
}
