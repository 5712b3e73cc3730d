//! What becomes of each effect: one match, every arm hands to a module.

use std::sync::Arc;

use stead_core::{Channel, Effect};
use stead_model::config::{NetworkEntry, NodeEntry};
use stead_model::{NodeId, Time};

use crate::net::Peers;
use crate::service::{Ending, Service, failed, lost};
use crate::wakers::Waker;

impl Service {
    /// Carries out effects. `Halt` and `Left` end the service after all others were handed over.
    pub(crate) fn execute(&mut self, now: Time, effects: Vec<Effect>) -> Result<(), Ending> {
        let mut ending = None;
        for effect in effects {
            match effect {
                Effect::Send { to, channel: Channel::Datagram, message } => {
                    if let Err(large) = self.datagrams.send(to, message) {
                        self.streams.send(to, *large);
                    }
                }
                Effect::Send { to, channel: Channel::Stream, message } => {
                    self.streams.send(to, message);
                }
                Effect::Io(io) => self.disks.begin(io),
                Effect::Guard(order) => {
                    self.guard.order(order, now).map_err(lost)?;
                    if self.guard.has_unsent() {
                        self.want_guard_room()?;
                    }
                }
                Effect::Resource(order) => {
                    let slot = self.monitors.order(order, now);
                    if let Some(slot) = slot.filter(|slot| self.monitors.has_unsent(*slot)) {
                        self.want_monitor_room(slot)?;
                    }
                }
                Effect::Reply { id, answer } => {
                    self.is_news = true;
                    self.answers.push((id, answer));
                }
                Effect::Record(record) => {
                    self.is_news = true;
                    if record.code == "link-up" {
                        self.monitors.link_up(now);
                    }
                    self.records.write(record);
                }
                Effect::Met(nodes) => self.meet(&nodes)?,
                Effect::Parted(node) => self.part(node)?,
                Effect::Networks(networks) => self.use_networks(&networks)?,
                Effect::Keys(order) => self.order_keys(order)?,
                Effect::Halt { why } => ending = Some(Ending::Failed(why)),
                Effect::Left => ending = Some(Ending::Stopped),
            }
        }
        ending.map_or(Ok(()), Err)
    }

    /// Opens ways to nodes that joined.
    fn meet(&mut self, nodes: &[NodeEntry]) -> Result<(), Ending> {
        let peers = self.datagrams.peers().clone();
        self.know(peers.with(nodes.iter()))
    }

    /// Closes the ways to a node that is no member any more.
    fn part(&mut self, node: NodeId) -> Result<(), Ending> {
        let peers = self.datagrams.peers().clone();
        self.know(peers.without(node))
    }

    /// Opens and closes the ways over networks of which another use is made.
    fn use_networks(&mut self, networks: &[NetworkEntry]) -> Result<(), Ending> {
        let peers = self.datagrams.peers().clone();
        self.know(peers.over(networks))
    }

    fn know(&mut self, peers: Peers) -> Result<(), Ending> {
        let peers = Arc::new(peers);
        let opened = self.datagrams.meet(Arc::clone(&peers)).map_err(failed("open a socket"))?;
        for (end, socket) in self.datagrams.sockets().filter(|(end, _)| opened.contains(end)) {
            self.wakers.add(socket, Waker::Network(end)).map_err(failed("wait for a network"))?;
        }
        self.admission.meet(Arc::clone(&peers));
        self.watch.meet(Arc::clone(&peers));
        self.streams.meet(peers, self.datagrams.reach()).map_err(failed("open streams anew"))
    }

    /// The same ways, opened anew.
    pub(crate) fn open_anew(&mut self) -> Result<(), Ending> {
        let peers = self.datagrams.peers().clone();
        self.know(peers)
    }
}
