//! Whether a text is what the book says: `…` stands for any text within a line, a line that is nothing
//! but `…` for any lines.

use std::fmt::Write;

/// What stands for anything.
const ANY: &str = "…";

/// Where a text and what was expected of it part.
#[derive(Debug, PartialEq, Eq)]
pub struct Difference {
    /// How many lines of the expectation were found; the next one was not.
    pub expected: usize,
    /// How many lines of the text they account for.
    pub got: usize,
}

/// Compares all lines of a text; spaces at the ends of lines and empty lines at the end do not count.
///
/// # Errors
/// With where they part.
pub fn whole(expected: &[String], got: &str) -> Result<(), Difference> {
    let (expected, got) = (lines_of(expected), lines(got));
    let reached = reach(&expected, &got);
    match reached.last() {
        Some(ends) if ends.contains(&got.len()) => Ok(()),
        _ => Err(furthest(&reached, got.len())),
    }
}

/// Compares the beginning of a text: more may follow.
///
/// # Errors
/// With where they part.
pub fn beginning(expected: &[String], got: &str) -> Result<(), Difference> {
    let (expected, got) = (lines_of(expected), lines(got));
    let reached = reach(&expected, &got);
    match reached.last() {
        Some(ends) if !ends.is_empty() => Ok(()),
        _ => Err(furthest(&reached, got.len())),
    }
}

/// The two as a diff: what they share, then what is missing (`-`) and what is there instead (`+`).
pub fn shown(expected: &[String], got: &str, difference: &Difference) -> String {
    const ENOUGH: usize = 40;
    let (expected, got) = (lines_of(expected), lines(got));
    let mut text = String::new();
    let mut say = |sign: char, line: &str| {
        let _ = writeln!(text, "    {sign} {line}");
    };
    for line in &expected[..difference.expected] {
        say(' ', line);
    }
    for line in expected[difference.expected..].iter().take(ENOUGH) {
        say('-', line);
    }
    for line in got[difference.got..].iter().take(ENOUGH) {
        say('+', line);
    }
    text
}

fn lines(text: &str) -> Vec<&str> {
    trimmed(text.lines())
}

fn lines_of(rows: &[String]) -> Vec<&str> {
    trimmed(rows.iter().map(String::as_str))
}

fn trimmed<'a>(rows: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut rows: Vec<_> = rows.map(str::trim_end).collect();
    while rows.last() == Some(&"") {
        rows.pop();
    }
    rows
}

/// For each number of expected lines, how many lines of the text they can account for.
fn reach(expected: &[&str], got: &[&str]) -> Vec<Vec<usize>> {
    let mut reached = vec![vec![0]];
    for row in expected {
        let before = &reached[reached.len() - 1];
        let after = if *row == ANY {
            before
                .first()
                .map_or(Vec::new(), |first| (*first..=got.len()).collect())
        } else {
            let fits = |at: &&usize| got.get(**at).is_some_and(|line| same(row, line));
            before.iter().filter(fits).map(|at| at + 1).collect()
        };
        reached.push(after);
    }
    reached
}

fn furthest(reached: &[Vec<usize>], lines: usize) -> Difference {
    let found = reached
        .iter()
        .rposition(|ends| !ends.is_empty())
        .unwrap_or(0);
    // Everything was found and more came: the rest of the text is what differs.
    let got = reached[found].first().copied().unwrap_or(0).min(lines);
    Difference {
        expected: found,
        got,
    }
}

fn same(expected: &str, got: &str) -> bool {
    let Some((first, rest)) = expected.split_once(ANY) else {
        return expected == got;
    };
    let (middle, last) = rest.rsplit_once(ANY).unwrap_or(("", rest));
    let ends = got
        .strip_prefix(first)
        .and_then(|got| got.strip_suffix(last));
    let Some(mut between) = ends else {
        return false;
    };
    for piece in middle.split(ANY) {
        let Some(at) = between.find(piece) else {
            return false;
        };
        between = &between[at + piece.len()..];
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn an_ellipsis_stands_for_any_text_within_a_line() {
        for (expected, got, fits) in [
            ("token eyJ…", "token eyJhbGci", true),
            ("token eyJ…", "token eyJ", true),
            ("token eyJ…", "token abc", false),
            ("a…b…c", "a 1 b 2 c", true),
            ("a…b…c", "a 1 c 2 b", false),
            ("a…ba", "aba", true),
            ("ab…ba", "aba", false),
            ("same", "same  ", true),
            ("same", "Same", false),
        ] {
            assert_eq!(
                whole(&rows(expected), got).is_ok(),
                fits,
                "{expected} {got}"
            );
        }
    }

    #[test]
    fn a_line_with_nothing_but_an_ellipsis_stands_for_any_lines() {
        for (expected, got, fits) in [
            ("…", "", true),
            ("…", "1\n2\n", true),
            ("…\nend", "1\n2\nend", true),
            ("…\nend", "end\nend", true),
            ("…\nend", "1\nend\n2", false),
            ("a\n…\nb\n…", "a\nb", true),
            ("a\n…\nb\n…", "a\n1\nb\n2\n", true),
            ("a\n…\nb\n…", "a\n1\n2\n", false),
            ("", "more", false),
            ("a", "", false),
        ] {
            assert_eq!(
                whole(&rows(expected), got).is_ok(),
                fits,
                "{expected:?} {got:?}"
            );
        }
    }

    #[test]
    fn of_a_text_that_goes_on_the_beginning_counts() {
        assert!(beginning(&rows("…\nlistens on …"), "a\nlistens on x\nmore\n").is_ok());
        assert!(beginning(&rows("…\nlistens on …"), "a\n").is_err());
    }

    #[test]
    fn a_difference_is_shown_where_it_begins() {
        let (expected, got) = (rows("a\n…\nb\nc"), "a\n1\nb\nd\n");
        let difference = whole(&expected, got).unwrap_err();
        assert_eq!(
            difference,
            Difference {
                expected: 3,
                got: 3
            }
        );
        assert_eq!(
            shown(&expected, got, &difference),
            "      a\n      …\n      b\n    - c\n    + d\n"
        );
    }
}
