//! What becomes of each effect: one match, every arm hands to a module.

use std::sync::Arc;

use stead_core::{Channel, Effect};
use stead_model::Time;
use stead_model::config::NodeEntry;

use crate::service::{Ending, Service, failed, lost};

impl Service {
    /// Carries out effects. `Halt` and `Left` end the service after all others were handed over.
    pub(crate) fn execute(&mut self, now: Time, effects: Vec<Effect>) -> Result<(), Ending> {
        let mut ending = None;
        for effect in effects {
            match effect {
                Effect::Send { to, channel: Channel::Datagram, message } => {
                    if let Err(large) = self.datagrams.send(to, message) {
                        self.streams.send(to, large);
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
                Effect::Halt { why } => ending = Some(Ending::Failed(why)),
                Effect::Left => ending = Some(Ending::Stopped),
            }
        }
        ending.map_or(Ok(()), Err)
    }

    /// Opens ways to nodes that joined.
    fn meet(&mut self, nodes: &[NodeEntry]) -> Result<(), Ending> {
        let (peers, reach) = self.datagrams.known();
        let peers = Arc::new(peers.clone().with(nodes.iter()));
        let reach = Arc::new(reach.with_routes(peers.routes.len()));
        self.datagrams.meet(Arc::clone(&peers), Arc::clone(&reach));
        self.streams.meet(peers, reach).map_err(failed("open streams to a node that joined"))
    }
}
