//! Whether a host is reached on each network, as its peers will reach it: TCP and UDP on the port
//! of the cluster, from this node's own address there.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use stead_model::NetworkId;
use stead_model::config::NodeAddress;
use tokio::net::{TcpSocket, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::wire::{ECHO, Reached};
use crate::net::Peers;

/// Networks of a cluster at most; what a host names beyond is left out.
const NETWORKS_MAX: usize = 8;
/// What does not answer within this time is not reached.
const PATIENCE: Duration = Duration::from_secs(2);
/// A datagram may be lost: it is sent again.
const BETWEEN_TRIES: Duration = Duration::from_millis(200);

/// Looks on all networks at once.
pub(super) async fn all(peers: &Peers, addresses: &[NodeAddress]) -> Vec<Reached> {
    let mut looking = JoinSet::new();
    for NodeAddress { network, address } in addresses.iter().copied().take(NETWORKS_MAX) {
        let Some((_, own)) = peers.ends().find(|(_, own)| own.network == network) else { continue };
        looking.spawn(one(network, own.local.ip(), SocketAddr::new(address, own.local.port())));
    }
    let mut reached = Vec::new();
    while let Some(looked) = looking.join_next().await {
        reached.extend(looked.ok());
    }
    reached.sort_by_key(|reached| reached.network);
    reached
}

async fn one(network: NetworkId, own: IpAddr, remote: SocketAddr) -> Reached {
    let (tcp, udp) =
        tokio::join!(timeout(PATIENCE, connect(own, remote)), timeout(PATIENCE, echo(own, remote)));
    let told = |looked: Result<std::io::Result<()>, _>| match looked {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some(format!("no answer in {} s", PATIENCE.as_secs())),
    };
    Reached { network, tcp: told(tcp), udp: told(udp) }
}

async fn connect(own: IpAddr, remote: SocketAddr) -> std::io::Result<()> {
    let socket = if own.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.bind(SocketAddr::new(own, 0))?;
    socket.connect(remote).await.map(drop)
}

/// Until what was sent comes back.
async fn echo(own: IpAddr, remote: SocketAddr) -> std::io::Result<()> {
    let socket = UdpSocket::bind(SocketAddr::new(own, 0)).await?;
    socket.connect(remote).await?;
    let mut came = [0; ECHO.len() + 1];
    loop {
        socket.send(ECHO).await?;
        let heard = timeout(BETWEEN_TRIES, socket.recv(&mut came)).await;
        if let Ok(heard) = heard
            && came.get(..heard?) == Some(ECHO)
        {
            return Ok(());
        }
    }
}
