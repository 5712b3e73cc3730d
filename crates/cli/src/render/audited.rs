//! Lines of the audit log.

use stead_api::contract::Audited;

use super::{Table, moment};

/// Lines as a table.
pub(crate) fn audited(entries: &[Audited]) -> String {
    let header = ["NUMBER", "TIME (UTC)", "ROLE", "WHO", "OUTCOME", "WHAT", "ANSWER"];
    let mut table = Table::new(&header);
    for entry in entries {
        table.row(vec![
            entry.number.to_string(),
            moment::to_millisecond(entry.at),
            role(entry).into(),
            entry.who.clone(),
            entry.outcome.word().into(),
            entry.what.clone(),
            answer(entry),
        ]);
    }
    table.text_or("nobody asked for a change")
}

/// One line, for those that come one by one.
pub(crate) fn audited_line(entry: &Audited) -> String {
    let (at, outcome) = (moment::to_millisecond(entry.at), entry.outcome.word());
    let Audited { number, who, what, .. } = entry;
    let (role, answer) = (role(entry), answer(entry));
    format!("{number}  {at}  {outcome:7}  {who} ({role}): {what}: {answer}\n")
}

fn role(entry: &Audited) -> &'static str {
    entry.role.map_or("none", |role| role.word())
}

fn answer(entry: &Audited) -> String {
    match entry.left_out {
        0 => entry.answer.clone(),
        count => format!("{} (before it {count} more were denied)", entry.answer),
    }
}
