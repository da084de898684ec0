//! JSON, written where it is to stand.

use std::io::{self, Write};

use serde::Serialize;

/// Writes a value behind what is there already.
///
/// # Panics
/// When it has a map whose keys are no texts, or cannot be written by itself.
pub fn append(json: &mut Vec<u8>, value: &impl Serialize) {
    let written = serde_json::to_writer(Pieces(json), value);
    written.expect("texts and numbers are JSON");
}

/// Most of the pieces that JSON comes in are a quote, a colon or a comma, for which nothing has to be copied.
struct Pieces<'a>(&'a mut Vec<u8>);

impl Write for Pieces<'_> {
    #[inline]
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        match piece {
            [byte] => self.0.push(*byte),
            _ => self.0.extend_from_slice(piece),
        }
        Ok(piece.len())
    }

    #[inline]
    fn write_all(&mut self, piece: &[u8]) -> io::Result<()> {
        self.write(piece).map(drop)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_appended_is_what_serde_json_writes() {
        let value = json!({"": "", "a": ["\"\\\n", "x", 1, -2.5, true, null, {}], "é": "\u{1}日"});
        let mut written = b"[".to_vec();
        append(&mut written, &value);
        assert_eq!(String::from_utf8(written).unwrap(), format!("[{value}"));
    }
}
