//! Server-Sent Events, read byte by byte as the WHATWG's HTML standard has them (section 9.2.6), in
//! bounded memory.

/// The longest line, and the most data of one event, in bytes. A revocation has about 150.
const MAX_LINE: usize = 16 * 1024;
const MAX_DATA: usize = 64 * 1024;

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) name: String,
    pub(super) data: String,
    pub(super) id: Option<String>,
}

/// A line or an event that is longer than any feed needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a line or an event of the feed is too long")]
pub(super) struct TooLong;

/// The reader of one connection. What comes in pieces is put together.
#[derive(Debug, Default)]
pub(super) struct EventReader {
    line: Vec<u8>,
    event: Event,
    /// A line feed behind a carriage return is part of that line's end.
    after_return: bool,
    /// A byte order mark may stand before the first line.
    begun: bool,
}

impl EventReader {
    /// Reads the next bytes and hands on the events that they complete.
    pub(super) fn read(
        &mut self,
        bytes: &[u8],
        mut on_event: impl FnMut(Event),
    ) -> Result<(), TooLong> {
        for byte in bytes {
            match byte {
                b'\n' if self.after_return => self.after_return = false,
                b'\n' | b'\r' => {
                    self.after_return = *byte == b'\r';
                    if let Some(event) = self.end_line()? {
                        on_event(event);
                    }
                }
                _ => {
                    self.after_return = false;
                    if self.line.len() == MAX_LINE {
                        return Err(TooLong);
                    }
                    self.line.push(*byte);
                }
            }
        }
        Ok(())
    }

    fn end_line(&mut self) -> Result<Option<Event>, TooLong> {
        let line = String::from_utf8_lossy(&self.line);
        let mut line = &*line;
        if !std::mem::replace(&mut self.begun, true) {
            line = line.strip_prefix('\u{feff}').unwrap_or(line);
        }
        let event = &mut self.event;
        if line.is_empty() {
            self.line.clear();
            let event = std::mem::take(event);
            return Ok((!event.data.is_empty()).then_some(event));
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut event.name),
            "id" if !value.contains('\0') => event.id = Some(value.to_owned()),
            "data" => {
                if event.data.len() + value.len() > MAX_DATA {
                    return Err(TooLong);
                }
                if !event.data.is_empty() {
                    event.data.push('\n');
                }
                event.data.push_str(value);
            }
            _ => {} // a comment, `retry`, and what is not known yet
        }
        self.line.clear();
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(pieces: &[&[u8]]) -> Result<Vec<Event>, TooLong> {
        let (mut reader, mut events) = (EventReader::default(), Vec::new());
        for piece in pieces {
            reader.read(piece, |event| events.push(event))?;
        }
        Ok(events)
    }

    fn event(name: &str, data: &str, id: Option<&str>) -> Event {
        Event {
            name: name.to_owned(),
            data: data.to_owned(),
            id: id.map(str::to_owned),
        }
    }

    #[test]
    fn events_are_read_as_the_standard_has_them() {
        for (text, expected) in [
            ("", vec![]),
            ("data: x", vec![]),
            ("data: x\n", vec![]),
            ("data: x\n\n", vec![event("", "x", None)]),
            ("data: x\r\n\r\n", vec![event("", "x", None)]),
            ("data: x\r\r", vec![event("", "x", None)]),
            ("\u{feff}data: x\n\n", vec![event("", "x", None)]),
            ("data:x\n\n\n\n", vec![event("", "x", None)]),
            ("data:  x\n\n", vec![event("", " x", None)]),
            ("data: a\ndata: b\n\n", vec![event("", "a\nb", None)]),
            (
                "event: e\nid: 7\ndata: {}\n\n",
                vec![event("e", "{}", Some("7"))],
            ),
            (
                "id: 7\ndata: x\n\ndata: y\n\n",
                vec![event("", "x", Some("7")), event("", "y", None)],
            ),
            ("event: e\nid: 7\n\n", vec![]),
            (
                ": comment\nretry: 1\nunknown: x\ndata\ndata: x\n\n",
                vec![event("", "x", None)],
            ),
            ("id: a\0b\ndata: x\n\n", vec![event("", "x", None)]),
            ("data: \u{fffd}\n\n", vec![event("", "\u{fffd}", None)]),
        ] {
            assert_eq!(read(&[text.as_bytes()]), Ok(expected), "{text:?}");
        }
        let broken = read(&[b"data: \xff\n\n"]);
        assert_eq!(broken, Ok(vec![event("", "\u{fffd}", None)]));
    }

    #[test]
    fn what_never_ends_is_not_kept() {
        let line = vec![b'x'; MAX_LINE];
        assert_eq!(read(&[&line]), Ok(vec![]));
        assert_eq!(read(&[&line, b"\n"]), Ok(vec![]));
        assert_eq!(read(&[&line, b"x"]), Err(TooLong));
        let data = [b"data: ", &line[..MAX_LINE - 6], b"\n"].concat();
        assert_eq!(read(&[&data, &data, &data, &data]), Ok(vec![]));
        assert_eq!(read(&[&data, &data, &data, &data, &data]), Err(TooLong));
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_are_read_alike(
            lines in prop::collection::vec(
                prop_oneof![
                    any::<Vec<u8>>(),
                    "(data|event|id|retry|:)?:? ?[a-z{}\u{e9}]{0,3}(\r\n|\n|\r)?"
                        .prop_map(String::into_bytes),
                    Just(b"\n\n".to_vec()),
                ],
                0..20,
            ),
            cut in any::<prop::sample::Index>(),
        ) {
            let bytes = lines.concat();
            let cut = cut.index(bytes.len() + 1);
            let whole = read(&[&bytes]);
            prop_assert_eq!(&read(&[&bytes[..cut], &bytes[cut..]]), &whole);
            let single: Vec<_> = bytes.chunks(1).collect();
            prop_assert_eq!(&read(&single), &whole);
        }
    }
}
