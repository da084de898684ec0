//! A file that is encrypted in one pass and cannot be cut, reordered or changed unnoticed.
//!
//! ```text
//! header    AUTHPROVIDERBKUP | format, 2 bytes | name of the key, 8 bytes | salt, 32 bytes
//! chunks    AES-256-GCM over 64 KiB each, with a tag of 16 bytes; the last one is shorter or as long, never empty
//! ```
//!
//! This is the STREAM construction (Hoang, Reyhanitabar, Rogaway, Vizár: *Online Authenticated-Encryption and its
//! Nonce-Reuse Misuse-Resistance*, 2015). The nonce of a chunk is its number, in 11 bytes, and one byte that is 1 for the
//! last chunk only: a chunk opens in its place and nowhere else, and a file that lost its end has no last chunk. The key
//! is made anew for each file, by HKDF-SHA256 from the operator's key and the salt, with the header as a part of what it is
//! for: so no nonce is used twice under one key, and a changed header is another key.

use std::{
    io::{self, Read, Write},
    mem,
};

use aws_lc_rs::aead::{Aad, LessSafeKey, NONCE_LEN, Nonce};
use zeroize::Zeroizing;

use super::key::{BackupKey, KeyName};
use crate::client::random_bytes;

const MAGIC: &[u8; 16] = b"AUTHPROVIDERBKUP";
const FORMAT: u16 = 1;
const SALT: usize = 32;
/// How long the header is.
pub const HEADER: usize = 16 + 2 + 8 + SALT;

/// How much of the content is in one chunk.
pub const CHUNK: usize = 64 * 1024;
/// How much longer a chunk is in the file.
pub const TAG: usize = 16;

/// Why a sealed file was not read.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    #[error("it is no backup of an auth-provider")]
    Foreign,
    #[error(
        "its format {0} is newer than this program: use the version that made it, or a later one"
    )]
    Newer(u16),
    #[error("it was made with the key {made_with}, not with {given}: name that key's file")]
    OtherKey { made_with: KeyName, given: KeyName },
    #[error("it is damaged or cut short at byte {at}: use another backup")]
    Damaged { at: u64 },
    #[error("cannot read it")]
    Io(#[from] io::Error),
}

/// Seals what is written to it.
pub struct Sealing<W> {
    out: W,
    key: LessSafeKey,
    number: u64,
    buffer: Zeroizing<Vec<u8>>,
}

impl<W: Write> Sealing<W> {
    /// Writes the header.
    pub fn begin(mut out: W, key: &BackupKey) -> io::Result<Self> {
        let salt = random_bytes::<SALT>();
        let header = [&MAGIC[..], &FORMAT.to_be_bytes(), &key.name().0, &salt].concat();
        out.write_all(&header)?;
        Ok(Self {
            out,
            key: key.of_file(&salt, &header),
            number: 0,
            buffer: Zeroizing::new(Vec::with_capacity(CHUNK + TAG)),
        })
    }

    pub fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            // A full chunk waits for the byte after it: the last one is sealed otherwise.
            if self.buffer.len() == CHUNK {
                self.seal(false)?;
            }
            let fits = bytes.len().min(CHUNK - self.buffer.len());
            self.buffer.extend_from_slice(&bytes[..fits]);
            bytes = &bytes[fits..];
        }
        Ok(())
    }

    /// Seals the end. Without it the file is worth nothing.
    pub fn finish(mut self) -> io::Result<W> {
        self.seal(true)?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn seal(&mut self, last: bool) -> io::Result<()> {
        let nonce = nonce(self.number, last);
        let sealed = self
            .key
            .seal_in_place_append_tag(nonce, Aad::empty(), &mut *self.buffer);
        sealed.expect("a chunk is far shorter than what AES-GCM can seal");
        self.out.write_all(&self.buffer)?;
        self.buffer.clear();
        self.number += 1;
        Ok(())
    }
}

/// Opens what [`Sealing`] made, from the beginning to the end. Nothing is handed out that was changed.
pub struct Opening<R> {
    input: R,
    key: LessSafeKey,
    number: u64,
    /// What is next in the file, still sealed: whether a chunk is the last one shows in what follows it.
    ahead: Vec<u8>,
    open: Zeroizing<Vec<u8>>,
    taken: usize,
}

impl<R: Read> Opening<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// When it is none, or this key does not open the file.
    pub fn begin(mut input: R, key: &BackupKey) -> Result<Self, SealError> {
        let header = read_up_to(&mut input, HEADER)?;
        let Some(rest) = header.strip_prefix(MAGIC) else {
            return Err(SealError::Foreign);
        };
        let damaged = SealError::Damaged {
            at: header.len() as u64,
        };
        let Some((format, rest)) = rest.split_first_chunk() else {
            return Err(damaged);
        };
        let format = u16::from_be_bytes(*format);
        if format > FORMAT {
            return Err(SealError::Newer(format));
        }
        let Some((name, salt)) = rest.split_first_chunk() else {
            return Err(damaged);
        };
        if format == 0 || salt.len() != SALT {
            return Err(damaged);
        }
        let (made_with, given) = (KeyName(*name), key.name());
        if made_with != given {
            return Err(SealError::OtherKey { made_with, given });
        }
        let mut opening = Self {
            key: key.of_file(salt, &header),
            number: 0,
            ahead: read_up_to(&mut input, CHUNK + TAG)?,
            input,
            open: Zeroizing::default(),
            taken: 0,
        };
        opening.advance()?;
        Ok(opening)
    }

    /// Opens the next chunk.
    fn advance(&mut self) -> Result<(), SealError> {
        let at = HEADER as u64 + self.number * (CHUNK + TAG) as u64;
        let damaged = SealError::Damaged { at };
        let mut chunk = mem::replace(&mut self.ahead, read_up_to(&mut self.input, CHUNK + TAG)?);
        let nonce = nonce(self.number, self.ahead.is_empty());
        let Ok(open) = self.key.open_in_place(nonce, Aad::empty(), &mut chunk) else {
            return Err(damaged);
        };
        let length = open.len();
        chunk.truncate(length);
        (self.open, self.taken) = (Zeroizing::new(chunk), 0);
        self.number += 1;
        Ok(())
    }

    /// Fills `out`.
    ///
    /// # Errors
    /// When the content ends before, or was changed.
    pub fn read_exact(&mut self, mut out: &mut [u8]) -> Result<(), SealError> {
        while !out.is_empty() {
            if self.taken == self.open.len() {
                if self.is_at_end() {
                    let at = HEADER as u64 + self.number * (CHUNK + TAG) as u64;
                    return Err(SealError::Damaged { at });
                }
                self.advance()?;
                continue;
            }
            let rest = &self.open[self.taken..];
            let (filled, unfilled) = out.split_at_mut(rest.len().min(out.len()));
            filled.copy_from_slice(&rest[..filled.len()]);
            self.taken += filled.len();
            out = unfilled;
        }
        Ok(())
    }

    /// Whether everything was read. The last chunk was opened as the last one: nothing is missing.
    pub fn is_at_end(&self) -> bool {
        self.taken == self.open.len() && self.ahead.is_empty()
    }
}

fn nonce(number: u64, last: bool) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    nonce[3..11].copy_from_slice(&number.to_be_bytes());
    nonce[11] = last.into();
    Nonce::assume_unique_for_key(nonce)
}

/// As many bytes as are there.
fn read_up_to(input: &mut impl Read, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(length);
    input.take(length as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(key: &BackupKey, content: &[u8]) -> Vec<u8> {
        let mut sealing = Sealing::begin(Vec::new(), key).unwrap();
        for part in content.chunks(10_007) {
            sealing.write(part).unwrap();
        }
        sealing.finish().unwrap()
    }

    fn opened(key: &BackupKey, file: &[u8], length: usize) -> Result<Vec<u8>, SealError> {
        let mut opening = Opening::begin(file, key)?;
        let mut content = vec![0; length];
        opening.read_exact(&mut content)?;
        assert!(opening.is_at_end());
        Ok(content)
    }

    #[test]
    fn what_was_sealed_opens_and_does_not_look_like_it() {
        let key = BackupKey::generate();
        for length in [1, 100, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK] {
            let content: Vec<u8> = (0..=250).cycle().take(length).collect();
            let file = sealed(&key, &content);
            let chunks = length.div_ceil(CHUNK);
            assert_eq!(file.len(), HEADER + length + chunks * TAG);
            assert_eq!(opened(&key, &file, length).unwrap(), content);
            assert_ne!(sealed(&key, &content), file, "each file has its own key");
        }
        let file = sealed(&key, &[b'a'; 1000]);
        assert!(!file.windows(8).any(|part| part == b"aaaaaaaa"));
    }

    #[test]
    fn every_cut_and_every_change_is_noticed() {
        let key = BackupKey::generate();
        let length = 2 * CHUNK + 500;
        let file = sealed(&key, &vec![7; length]);
        let step = CHUNK + TAG;
        let at_borders = (0..3).flat_map(|n| [0, 1].map(|more| HEADER + n * step + more));
        let cuts = at_borders.chain([HEADER - 1, 17, file.len() - 1, file.len() - TAG]);
        for cut in cuts {
            let outcome = opened(&key, &file[..cut], length);
            assert!(matches!(outcome, Err(SealError::Damaged { .. })), "{cut}");
        }
        for at in [18, 30, HEADER - 1, HEADER, HEADER + step, file.len() - 1] {
            let mut changed = file.clone();
            changed[at] ^= 1;
            assert!(opened(&key, &changed, length).is_err(), "{at}");
        }
        let chunk = |n: usize| &file[HEADER + n * step..(HEADER + (n + 1) * step).min(file.len())];
        for order in [&[1, 0, 2][..], &[0, 0, 1, 2], &[0, 2], &[0, 1, 2, 2], &[2]] {
            let chunks: Vec<u8> = order.iter().flat_map(|n| chunk(*n)).copied().collect();
            let file = [&file[..HEADER], &chunks].concat();
            let outcome = opened(&key, &file, length);
            assert!(
                matches!(outcome, Err(SealError::Damaged { .. })),
                "{order:?}"
            );
        }
        let longer = [&file[..], &[0]].concat();
        assert!(opened(&key, &longer, length).is_err());
    }

    #[test]
    fn what_is_no_backup_or_not_for_this_key_says_so() {
        let key = BackupKey::generate();
        let file = sealed(&key, b"content");
        let other = BackupKey::generate();
        let outcome = opened(&other, &file, 7);
        assert!(matches!(outcome, Err(SealError::OtherKey { .. })));
        for bytes in [&b""[..], b"AUTH", b"SQLite format 3\0 and so on"] {
            assert!(matches!(opened(&key, bytes, 7), Err(SealError::Foreign)));
        }
        let mut newer = file.clone();
        newer[17] = 2;
        assert!(matches!(opened(&key, &newer, 7), Err(SealError::Newer(2))));
    }
}
