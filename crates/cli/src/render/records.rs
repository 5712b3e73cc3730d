//! Records of the event log.

use stead_api::contract::{ClusterEvent, NodeAsked, RecordName};
use stead_model::NodeId;
use stead_model::record::Record;

use super::{Table, moment};

/// Records as a table.
pub(crate) fn records(records: &[Record]) -> String {
    let mut table = Table::new(&["NUMBER", "TIME (UTC)", "LEVEL", "CODE", "CAUSE", "TEXT"]);
    for record in records {
        table.row(vec![
            record.number.to_string(),
            moment::to_millisecond(record.at),
            record.level.word().into(),
            record.code.clone(),
            cause(records, record),
            record.text.clone(),
        ]);
    }
    table.text_or("no records")
}

/// Records of all nodes as a table.
pub(crate) fn events(events: &[ClusterEvent], nodes: &[NodeAsked]) -> String {
    let header = ["RECORD", "TIME (UTC)", "NODES", "LEVEL", "CODE", "CAUSE", "TEXT"];
    let mut table = Table::new(&header);
    for ClusterEvent { record, told, cause } in events {
        let at = record.entry.map_or(record.at, |entry| entry.at);
        let cause = match (cause, record.cause) {
            (Some(cause), _) => cause.to_string(),
            (None, Some(_)) => "earlier".to_owned(),
            (None, None) => "-".to_owned(),
        };
        table.row(vec![
            told.first().map_or_else(String::new, ToString::to_string),
            moment::to_millisecond(at),
            tellers(told, nodes.len()),
            record.level.word().into(),
            record.code.clone(),
            cause,
            record.text.clone(),
        ]);
    }
    table.text_or("no records")
}

/// The nodes that tell of an event.
fn tellers(told: &[RecordName], all: usize) -> String {
    if told.len() > 1 && told.len() == all {
        return "all".to_owned();
    }
    let mut nodes: Vec<NodeId> = told.iter().map(|name| name.node).collect();
    nodes.sort();
    let nodes: Vec<String> = nodes.iter().map(ToString::to_string).collect();
    nodes.join(" ")
}

/// One record as a line, for records that come one by one.
pub(crate) fn record_line(record: &Record) -> String {
    let (at, level) = (moment::to_millisecond(record.at), record.level.word());
    format!("{}  {at}  {level:7}  {}  {}\n", record.number, record.code, record.text)
}

/// The number of the record that caused this one, where it is among them.
fn cause(records: &[Record], record: &Record) -> String {
    let Some(cause) = record.cause else { return "-".to_owned() };
    let found = records.iter().find(|other| other.id == cause);
    found.map_or_else(|| "earlier".to_owned(), |other| other.number.to_string())
}
