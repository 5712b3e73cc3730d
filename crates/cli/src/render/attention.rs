//! What needs somebody.

use stead_api::contract::Attention;

use super::{Table, moment};

/// Each with the command to begin with.
pub(crate) fn attention(all: &[Attention]) -> String {
    let mut table = Table::new(&["", "WHAT", "ENDS", "BEGIN WITH"]);
    for item in all {
        table.row(vec![
            if item.urgent { "!" } else { "-" }.to_owned(),
            item.text.clone(),
            item.until.map_or_else(|| "-".to_owned(), moment::to_second),
            item.command.clone(),
        ]);
    }
    table.text_or("nothing needs attention")
}
