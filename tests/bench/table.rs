//! What is printed: one line a number, with its baseline and what it must reach.

use std::fmt;

/// The numbers of one part.
pub(crate) struct Table {
    name: String,
    rows: Vec<Row>,
}

struct Row {
    what: String,
    number: String,
    note: String,
    missed: bool,
}

/// What a number is to reach.
#[derive(Clone, Copy)]
pub(crate) enum Bound {
    /// At most `must`, and `aim` is the goal.
    AtMost { aim: f64, must: f64 },
    /// At least `must`, and `aim` is the goal.
    AtLeast { aim: f64, must: f64 },
}

impl Bound {
    fn verdict(self, number: f64) -> (bool, String) {
        let (aimed, reached, sign, aim, must) = match self {
            Self::AtMost { aim, must } => (number <= aim, number <= must, '≤', aim, must),
            Self::AtLeast { aim, must } => (number >= aim, number >= must, '≥', aim, must),
        };
        let word = match (aimed, reached) {
            (true, _) => "reaches its aim",
            (false, true) => "within its bound, short of its aim",
            (false, false) => "MISSES its bound",
        };
        (!reached, format!("{word} (aim {sign} {aim:.2}, must {sign} {must:.2})"))
    }
}

impl Table {
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), rows: Vec::new() }
    }

    /// Adds a number that is there to be known.
    pub(crate) fn row(&mut self, what: &str, number: String, note: &str) {
        let row = Row { what: what.to_owned(), number, note: note.to_owned(), missed: false };
        self.rows.push(row);
    }

    /// Adds a number that has something to reach.
    pub(crate) fn bounded(&mut self, what: &str, number: f64, unit: &str, bound: Bound) {
        let (missed, note) = bound.verdict(number);
        let number = format!("{number:.2}{unit}");
        self.rows.push(Row { what: what.to_owned(), number, note, missed });
    }

    /// Adds a number that could not be taken.
    pub(crate) fn missing(&mut self, what: &str, why: &str) {
        let number = "not measured".to_owned();
        self.rows.push(Row { what: what.to_owned(), number, note: why.to_owned(), missed: true });
    }

    /// How many numbers miss what they must reach.
    pub(crate) fn missed(&self) -> usize {
        self.rows.iter().filter(|row| row.missed).count()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wide = |of: fn(&Row) -> &str| {
            self.rows.iter().map(|row| of(row).chars().count()).max().unwrap_or(0)
        };
        let (what, number) = (wide(|row| &row.what), wide(|row| &row.number));
        writeln!(f, "{}", self.name)?;
        for row in &self.rows {
            let line = format!("  {:what$}  {:>number$}  {}", row.what, row.number, row.note);
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}
