//! Statements with long lists of values, for one row, two, four, and so on: a text for each number would keep databases
//! preparing statements.

use std::{fmt::Write, sync::OnceLock};

/// The most rows of a list. A power of two. Each statement is a message to another thread, or to another machine, and back:
/// a long one costs each row less.
pub(super) const LONGEST: usize = 512;

/// How a value's place is written.
#[derive(Clone, Copy)]
pub(super) enum Placeholder {
    /// `$1`, `$2`, as PostgreSQL wants it.
    Numbered,
    /// `?`. SQLite takes a number for a name, and looks for it in the list of all names.
    Plain,
}

impl Placeholder {
    pub(super) fn at(self, number: usize) -> String {
        match self {
            Self::Numbered => format!("${number}"),
            Self::Plain => "?".to_owned(),
        }
    }

    /// A text outside of the lists. PostgreSQL must be told that it is one; SQLite would cast it for each row anew.
    pub(super) fn text_at(self, number: usize) -> String {
        match self {
            Self::Numbered => format!("CAST(${number} AS TEXT)"),
            Self::Plain => "?".to_owned(),
        }
    }

    /// `($1, $2), ($3, $4)` and so on.
    pub(super) fn groups(self, rows: usize, columns: usize) -> String {
        self.groups_after(0, rows, columns)
    }

    /// The same behind so many other placeholders.
    pub(super) fn groups_after(self, others: usize, rows: usize, columns: usize) -> String {
        let mut text = String::new();
        for place in 0..rows * columns {
            let before = match place % columns {
                0 if place == 0 => "(",
                0 => "), (",
                _ => ", ",
            };
            let placeholder = self.at(others + place + 1);
            write!(text, "{before}{placeholder}").expect("a string takes any text");
        }
        text + ")"
    }
}

/// The texts of one statement.
pub(super) struct Lists {
    make: fn(usize, Placeholder) -> String,
    made: [[OnceLock<String>; POWERS]; 2],
}

/// 1, 2, 4 … [`LONGEST`].
const POWERS: usize = 1 + LONGEST.ilog2() as usize;

impl Lists {
    /// `make` writes the statement for so many rows.
    pub(super) const fn new(make: fn(usize, Placeholder) -> String) -> Self {
        Self {
            make,
            made: [const { [const { OnceLock::new() }; POWERS] }; 2],
        }
    }

    /// The statement for so many rows, or as many more as make a power of two.
    pub(super) fn statement(&self, rows: usize, placeholder: Placeholder) -> &str {
        let rows = rows.next_power_of_two();
        let made = &self.made[placeholder as usize][rows.ilog2() as usize];
        made.get_or_init(|| (self.make)(rows, placeholder))
    }
}

/// The largest power of two that is not more than `rest`, which is not empty, and [`LONGEST`].
pub(super) fn rows_of(rest: usize) -> usize {
    1 << rest.min(LONGEST).ilog2()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_a_place_for_each_value() {
        static LISTS: Lists = Lists::new(|rows, placeholder| placeholder.groups(rows, 2));
        let numbered = |rows| LISTS.statement(rows, Placeholder::Numbered);
        assert_eq!(numbered(1), "($1, $2)");
        assert_eq!(numbered(2), "($1, $2), ($3, $4)");
        assert_eq!(numbered(3), numbered(4));
        assert_eq!(LISTS.statement(2, Placeholder::Plain), "(?, ?), (?, ?)");
        let behind = Placeholder::Numbered.groups_after(3, 2, 2);
        assert_eq!(behind, "($4, $5), ($6, $7)");
        assert_eq!([1, 3, 64, 1000].map(rows_of), [1, 2, 64, 512]);
    }
}
