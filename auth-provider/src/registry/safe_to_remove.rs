//! The question that each rotation ends with: is it safe to remove the old secret?

use super::{CredentialInfo, Credentials};

/// How late somebody may come back whose token has ended, at the least, in seconds: machines are busy, and clocks differ.
const LATE: u64 = 10;

/// Whether a credential can be removed without breaking anybody, and why.
///
/// It can when the client has moved on to another one, and when this one has been idle for longer than whoever still has
/// it would have been. A client that holds a token does not come back before that ends, and then it may be late: it has
/// as long again as the token lived. And it may be one that comes seldom: it has the longest time that the client ever
/// let pass between two uses.
///
/// Where servers sum up uses in memory, it is judged as of the last moment of which all is written. When one of them ended
/// before it wrote all, each credential may have been used until then.
pub fn safe_to_remove(
    credential: &CredentialInfo,
    among: &Credentials,
    now: u64,
) -> (bool, String) {
    if credential.is_expired(now) {
        return (true, "It has ended: it opens nothing any more.".to_owned());
    }
    let lost = among.lost_use(credential, now);
    let now = among.known_until(now);
    let since = lost.map_or(credential.idle_since(), |lost| lost.at);
    let mut others = among.all.iter().filter(|other| !other.is_expired(now));
    let moved_on = others.any(|other| credential.is_succeeded_by(other, since));
    let idle = now.saturating_sub(since);
    let (last_use, nobody_moved_on) = if lost.is_some() {
        let why = "and no other credential is known to have been used since";
        let ended = "a server ended then that had not written all uses";
        (format!("It may have been used {idle} s ago: {ended}"), why)
    } else if credential.usage.is_some() {
        let why = "and no other credential has been used since";
        (format!("It was last used {idle} s ago"), why)
    } else {
        let why =
            "and none that was made later has been used: who is to use it may not have it yet";
        (format!("It was made {idle} s ago and never used"), why)
    };
    if !moved_on {
        return (false, format!("{last_use}, {nobody_moved_on}."));
    }
    let alive_until = lost.map_or(0, |lost| lost.alive_until);
    let alive_until = alive_until.max(credential.alive_until());
    if alive_until >= now {
        let left = alive_until - now + 1;
        let why = format!(
            "{last_use}. What was obtained with it lives for another {left} s: whoever holds that \
             comes back only afterwards."
        );
        return (false, why);
    }
    let back_until = alive_until.saturating_add(LATE.max(alive_until.saturating_sub(since)));
    if back_until >= now {
        let left = back_until - now + 1;
        let why = format!(
            "{last_use}. Whoever holds it needs it again about now, and may be late: look again in {left} s."
        );
        return (false, why);
    }
    let gap = among.longest_gap;
    if idle <= gap {
        let why = format!(
            "{last_use}, but the client has let up to {gap} s pass between two uses: look again in {} s.",
            gap - idle + 1
        );
        return (false, why);
    }
    let why = format!(
        "{last_use}. Another credential has been used since, and the client never let more than \
         {gap} s pass between two uses."
    );
    (true, why)
}

impl CredentialInfo {
    /// Since when nobody used it.
    fn idle_since(&self) -> u64 {
        self.usage
            .map_or(self.created_at, |usage| usage.last_used_at)
    }

    /// When the last token ends that it obtained.
    fn alive_until(&self) -> u64 {
        self.usage
            .map_or(self.created_at, |usage| usage.alive_until)
    }

    /// Whether the use of `other` shows that the client has moved on from this one, which has been idle `since` then, to
    /// another of its kind. Of one that was never used only a later one can tell: whoever is to use it may not have it yet.
    fn is_succeeded_by(&self, other: &Self, since: u64) -> bool {
        let is_used_since = other.usage.is_some_and(|usage| usage.last_used_at > since);
        let is_later = other.created_at > self.created_at;
        let is_alike = other.kind == self.kind && other.id != self.id;
        is_alike && is_used_since && (self.usage.is_some() || is_later)
    }
}

/// A use that may have been, and of which nothing is written.
#[derive(Clone, Copy)]
struct LostUse {
    at: u64,
    alive_until: u64,
}

impl Credentials {
    /// The last moment, `now` or earlier, of which everything is written.
    fn known_until(&self, now: u64) -> u64 {
        let at_work = self.unwritten.iter().filter(|span| span.taken_until >= now);
        at_work.map(|span| span.known_until).fold(now, u64::min)
    }

    /// The latest use of the credential that a server may have lost, if nothing is known of a later one.
    fn lost_use(&self, credential: &CredentialInfo, now: u64) -> Option<LostUse> {
        let over = self.unwritten.iter().filter(|span| span.taken_until < now);
        let span = over.max_by_key(|span| span.taken_until)?;
        let at = span.taken_until;
        (at > credential.idle_since()).then_some(LostUse {
            at,
            alive_until: at.saturating_add(span.longest_token),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        client::{CredentialId, CredentialKind},
        registry::{Unwritten, Usage},
    };

    fn credential(id: &str, created_at: u64, usage: Option<(u64, u64)>) -> CredentialInfo {
        CredentialInfo {
            id: CredentialId::parse(&format!("{id:-<22}")).unwrap(),
            kind: CredentialKind::Secret,
            label: String::new(),
            last_four: String::new(),
            created_at,
            expires_at: None,
            replaces: None,
            usage: usage.map(|(last_used_at, alive_until)| Usage {
                last_used_at,
                count: 1,
                alive_until,
            }),
        }
    }

    #[test]
    fn a_credential_is_safe_to_remove_when_nobody_can_still_have_it() {
        const NOW: u64 = 10_000;
        let used = |at| Some((at, at + 60));
        for (old, new, gap, says) in [
            // Nobody has moved on.
            (
                used(9_000),
                None,
                10,
                Err("no other credential has been used since"),
            ),
            (used(9_000), used(8_999), 10, Err("no other credential")),
            (used(9_000), used(9_000), 10, Err("no other credential")),
            // A token that it obtained is alive.
            (used(9_950), used(9_990), 10, Err("lives for another 11 s")),
            (used(9_940), used(9_990), 10, Err("lives for another 1 s")),
            // Whoever held that token may be late, by as long as it lived.
            (used(9_939), used(9_990), 10, Err("look again in 60 s")),
            (used(9_880), used(9_990), 10, Err("look again in 1 s")),
            (
                used(9_879),
                used(9_990),
                10,
                Ok("Another credential has been used since"),
            ),
            // However short it lived.
            (
                Some((9_983, 9_990)),
                used(9_990),
                0,
                Err("look again in 1 s"),
            ),
            (
                Some((9_983, 9_989)),
                used(9_990),
                0,
                Ok("last used 17 s ago"),
            ),
            // The client takes its time.
            (used(9_000), used(9_990), 1_000, Err("look again in 1 s")),
            (
                used(9_000),
                used(9_990),
                999,
                Ok("never let more than 999 s pass"),
            ),
            // Nobody ever used it.
            (None, used(9_990), 10, Ok("never used")),
            (None, used(4_000), 10, Err("never used, and none that")),
            (None, None, 0, Err("never used, and none that")),
        ] {
            let old = credential("old", 5_000, old);
            let among = Credentials {
                longest_gap: gap,
                unwritten: vec![],
                all: vec![old.clone(), credential("new", 6_000, new)],
            };
            let (safe, reason) = safe_to_remove(&old, &among, NOW);
            assert_eq!(safe, says.is_ok(), "{reason}");
            let (Ok(part) | Err(part)) = says;
            assert!(reason.contains(part), "{reason}");
        }
    }

    #[test]
    fn uses_that_a_server_has_not_written_or_never_will_count_as_uses() {
        const NOW: u64 = 10_000;
        let used = |at| Some((at, at + 60));
        let span = |known_until, taken_until| Unwritten {
            known_until,
            taken_until,
            longest_token: 60,
        };
        let judged = |unwritten: Vec<Unwritten>, new: u64| {
            let old = credential("old", 5_000, used(9_000));
            let among = Credentials {
                longest_gap: 100,
                unwritten,
                all: vec![old.clone(), credential("new", 6_000, used(new))],
            };
            safe_to_remove(&old, &among, NOW)
        };
        for (unwritten, new, says) in [
            (vec![], 9_990, Ok("last used 1000 s ago")),
            // A server is at work: it is judged as of what it has written.
            (
                vec![span(9_990, 10_050), span(9_995, 10_055)],
                9_990,
                Ok("last used 990 s ago"),
            ),
            (vec![span(9_100, NOW)], 9_090, Err("look again in 21 s")),
            // One ended: each may have been used until then, for a token that lives for a minute.
            (
                vec![span(9_890, 9_950)],
                9_990,
                Err("used 50 s ago: a server ended then that had not written all uses. What"),
            ),
            (vec![span(9_890, 9_950)], 9_950, Err("no other")),
            (vec![span(9_820, 9_880)], 9_990, Err("look again in 1 s")),
            (
                vec![span(9_810, 9_879)],
                9_990,
                Ok("may have been used 121 s ago"),
            ),
            // It is known better by now.
            (vec![span(8_900, 8_999)], 9_990, Ok("last used 1000 s ago")),
        ] {
            let (safe, reason) = judged(unwritten, new);
            assert_eq!(safe, says.is_ok(), "{reason}");
            let (Ok(part) | Err(part)) = says;
            assert!(reason.contains(part), "{part}: {reason}");
        }
    }

    #[test]
    fn one_that_was_just_made_is_not_safe_to_remove_because_the_one_before_is_in_use() {
        let new = credential("new", 5_000, None);
        let among = Credentials {
            longest_gap: 1,
            unwritten: vec![],
            all: vec![credential("old", 0, Some((9_999, 9_999))), new.clone()],
        };
        let (safe, reason) = safe_to_remove(&new, &among, 10_000);
        assert!(!safe && reason.contains("may not have it yet"), "{reason}");
    }

    #[test]
    fn one_that_ended_is_safe_to_remove_and_no_witness_that_others_moved_on() {
        let mut ended = credential("ended", 0, Some((90, 95)));
        ended.expires_at = Some(100);
        let old = credential("old", 0, Some((50, 55)));
        let among = Credentials {
            longest_gap: 1,
            unwritten: vec![],
            all: vec![ended.clone(), old.clone()],
        };
        assert!(safe_to_remove(&ended, &among, 100).0);
        assert!(!safe_to_remove(&old, &among, 100).0);
        assert!(safe_to_remove(&old, &among, 99).0);
    }
}
