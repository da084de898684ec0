//! Texts for fuzzing.

/// A change to a text: what is done (modulo 4), where (modulo the length), and with which byte.
pub type Change = (u8, u16, u8);

/// A good text after somebody meddled with it: bytes are replaced, put in, taken out, or said twice. Random bytes
/// hardly get past the first check of a parser; a good text with a few changes reaches all of them.
pub fn meddled(good: &[u8], changes: &[Change]) -> Vec<u8> {
    let mut text = good.to_vec();
    for (what, at, byte) in changes {
        let at = usize::from(*at) % (text.len() + 1);
        let there = at < text.len();
        match what % 4 {
            0 if there => text[at] = *byte,
            1 => text.insert(at, *byte),
            2 if there => drop(text.remove(at)),
            _ => {
                let end = text.len().min(at + usize::from(*byte));
                text.splice(at..at, text[at..end].to_vec());
            }
        }
    }
    text
}
