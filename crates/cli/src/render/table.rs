//! Tables: columns separated by two spaces, as wide as their widest value, no lines around.

/// A table that grows row by row.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(header: &[&str]) -> Self {
        Self { rows: vec![header.iter().map(ToString::to_string).collect()] }
    }

    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// The table, or what to say instead when it has no rows.
    pub(crate) fn text_or(&self, none: &str) -> String {
        if self.rows.len() == 1 { format!("{none}\n") } else { self.text() }
    }

    pub(crate) fn text(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        self.rows.iter().map(|row| line(row, &widths)).collect()
    }
}

fn line(row: &[String], widths: &[usize]) -> String {
    let mut line = String::new();
    for (cell, width) in row.iter().zip(widths) {
        line.push_str(&format!("{cell:width$}  "));
    }
    format!("{}\n", line.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_value_and_lines_end_without_blanks() {
        let mut table = Table::new(&["NAME", "WHY"]);
        table.row(vec!["höher".into(), String::new()]);
        table.row(vec!["b".into(), "so".into()]);
        assert_eq!(table.text(), "NAME   WHY\nhöher\nb      so\n");
        assert_eq!(Table::new(&["NAME"]).text_or("none"), "none\n");
    }
}
