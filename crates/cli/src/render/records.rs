//! Records of the event log.

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
