//! Tables: columns as wide as their widest cell on the screen, numbers to the right.

use unicode_width::UnicodeWidthStr as _;

/// A table that is being filled.
pub(crate) struct Table {
    /// A heading that begins with `>` is one of numbers.
    columns: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty one. `>HEADING` is a column of numbers.
    pub(crate) fn new(columns: &[&'static str]) -> Self {
        Self { columns: columns.to_vec(), rows: vec![] }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Its lines, the headings first.
    pub(crate) fn lines(&self) -> Vec<String> {
        let heads: Vec<String> =
            self.columns.iter().map(|head| head.trim_start_matches('>').to_owned()).collect();
        let all: Vec<&Vec<String>> = std::iter::once(&heads).chain(&self.rows).collect();
        let widths: Vec<usize> = (0..heads.len())
            .map(|column| {
                let cells = all.iter().filter_map(|row| row.get(column));
                cells.map(|cell| cell.width()).max().unwrap_or(0)
            })
            .collect();
        all.iter().map(|row| self.line(row, &widths)).collect()
    }

    fn line(&self, row: &[String], widths: &[usize]) -> String {
        let mut line = String::new();
        for ((cell, width), head) in row.iter().zip(widths).zip(&self.columns) {
            let blank = " ".repeat(width - cell.width().min(*width));
            match head.starts_with('>') {
                true => line += &format!("{blank}{cell}  "),
                false => line += &format!("{cell}{blank}  "),
            }
        }
        line.trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_by_what_they_take_on_the_screen() {
        let mut table = Table::new(&["NAME", ">FUEL", "SAID"]);
        table.row(["漢字".into(), "1.2M".into(), "x".into()]);
        table.row(["abcdef".into(), "7".into(), String::new()]);
        assert_eq!(table.lines(), ["NAME    FUEL  SAID", "漢字    1.2M  x", "abcdef     7",]);
    }
}
