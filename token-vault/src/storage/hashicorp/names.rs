//! Names as parts of a path.
//!
//! A name is any text of 1 to 256 characters; a part of a path here is 1 to 121 characters out of `a-z 0-9 - _ ~ =`, so that no
//! server, proxy or file system between here and the disk reads something else into it: it is never empty, `.` or `..`, has no
//! slash, percent sign or control character, and stays the same when case is lost. Two names never have the same part, and
//! parts sort as the names do, byte by byte, as long as names differ in their beginnings.

use aws_lc_rs::digest;

use crate::connection::ConnectionKey;

/// The longest part that spells its name out.
const LONGEST: usize = 120;

/// How much of a longer name is spelled out before its hash.
const BEGINNING: usize = 56;

/// The parts of a connection's path, from the application down.
pub(super) type Parts = [String; 4];

pub(super) fn parts(key: &ConnectionKey) -> Parts {
    [
        part(key.application.as_str()),
        part(key.user.as_str()),
        part(key.service.as_str()),
        part(key.account.as_str()),
    ]
}

/// Digits and small letters stand for themselves. Each other byte is an escape and its two hexadecimal digits, and the
/// escape sorts where the byte does: `-` below the digits, `_` between digits and small letters, `~` above. Too long a name is
/// its beginning, `=`, which nothing else has, and its SHA-256.
pub(super) fn part(name: &str) -> String {
    let (mut spelled, mut beginning) = (String::new(), 0);
    for byte in name.bytes() {
        if spelled.len() <= BEGINNING {
            beginning = spelled.len();
        }
        let escape = match byte {
            b'0'..=b'9' | b'a'..=b'z' => {
                spelled.push(char::from(byte));
                continue;
            }
            ..b'0' => '-',
            b':'..b'a' => '_',
            _ => '~',
        };
        spelled.push(escape);
        spelled += &hex(&[byte]);
    }
    if spelled.len() > LONGEST {
        spelled.truncate(beginning);
        spelled.push('=');
        spelled += &hex(digest::digest(&digest::SHA256, name.as_bytes()).as_ref());
    }
    spelled
}

pub(super) fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_is_spelled_so_that_nobody_reads_something_else() {
        for (name, spelled) in [
            ("alice", "alice"),
            ("alice@example.com", "alice_40example-2ecom"),
            ("Alice", "_41lice"),
            ("..", "-2e-2e"),
            (".", "-2e"),
            ("%2f", "-252f"),
            ("a/b", "a-2fb"),
            ("a+*b", "a-2b-2ab"),
            ("a-2fb", "a-2d2fb"),
            ("é", "~c3~a9"),
            ("=", "_3d"),
        ] {
            assert_eq!(part(name), spelled);
        }
        let long = "é".repeat(256);
        assert_eq!(
            part(&long).len(),
            54 + 1 + 64,
            "it ends with a whole escape"
        );
        assert!(part(&long).starts_with("~c3~a9") && part(&long) != part(&long[2..]));
        assert_eq!(part(&"a".repeat(120)), "a".repeat(120));
    }

    proptest! {
        #[test]
        fn no_two_names_have_the_same_part_and_the_order_stays(
            a in "[a-cA-C0/.%=~_ -]{1,4}|\\PC{1,256}", b in "[a-cA-C0/.%=~_ -]{1,4}|\\PC{1,256}",
        ) {
            let (left, right) = (part(&a), part(&b));
            prop_assert_eq!(a == b, left == right);
            if !left.contains('=') && !right.contains('=') {
                prop_assert_eq!(a.cmp(&b), left.cmp(&right));
            }
            prop_assert!((1..=LONGEST + 1).contains(&left.len()));
            let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_~=".contains(&b);
            prop_assert!(left.bytes().all(fits), "{}", left);
        }
    }
}
