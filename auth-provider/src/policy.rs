//! Who may call whom. [`decide`] is the only place that answers, and it answers from its arguments alone:
//! no clock is read, nothing is fetched.

use m2m::ScopeSet;

use crate::{
    client::{ClientRecord, Grant},
    resource::ResourceId,
};

/// What a client asks for.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// The resource named by `resource` or `audience`, as the client spelled it.
    pub resource: Option<String>,
    /// `None` wishes for all that the grant allows.
    pub scopes: Option<ScopeSet>,
}

/// What a client gets: the grant that allows it, and the scopes of it that were wished for.
#[derive(Debug, PartialEq, Eq)]
pub struct Allowed<'a> {
    pub grant: &'a Grant,
    pub scopes: &'a ScopeSet,
    /// The time for which that was decided.
    pub at: u64,
}

/// Why a client gets nothing. Every variant knows what the client could ask for instead.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error(
        "this client may not call any resource: an administrator must grant it one, as with auth-provider grant create"
    )]
    NoGrants,
    #[error(
        "name one resource, with the parameter resource or audience: this client may call {}",
        list(.choices)
    )]
    Ambiguous { choices: Vec<ResourceId> },
    // The same answer whether the resource exists or not: what is not granted is nobody's to know.
    #[error("this client has no grant for that resource: it may call {}", list(.choices))]
    NotGranted { choices: Vec<ResourceId> },
    // What was wished for is not repeated: it is the caller's text, and may be a secret in the wrong place.
    #[error(
        "the grant for {resource} does not allow all of these scopes: it allows {}{}",
        scopes(.allowed),
        if *.has_comma { "; separate scopes by spaces, not by commas" } else { "" }
    )]
    ScopeNotGranted {
        resource: ResourceId,
        allowed: ScopeSet,
        /// A comma may stand in a scope (RFC 6749 section 3.3), but mostly it was meant to separate two.
        has_comma: bool,
    },
}

/// Finds the grant that allows the wish at the time `now`.
///
/// # Errors
/// When none does; the refusal says what the client may ask for.
pub fn decide<'a>(
    client: &'a ClientRecord,
    wish: &'a Wish,
    now: u64,
) -> Result<Allowed<'a>, Refusal> {
    let alive = || client.grants.iter().filter(|grant| grant.is_alive(now));
    let choices = || alive().map(|grant| grant.resource.clone()).collect();

    let mut grants = alive();
    let grant = match (&wish.resource, grants.next(), grants.next()) {
        (_, None, _) => return Err(Refusal::NoGrants),
        (None, Some(only), None) => only,
        (None, Some(_), Some(_)) => return Err(Refusal::Ambiguous { choices: choices() }),
        (Some(name), ..) => alive()
            .find(|grant| grant.resource.as_str() == name)
            .ok_or_else(|| Refusal::NotGranted { choices: choices() })?,
    };
    let scopes = match &wish.scopes {
        None => &grant.scopes,
        Some(wished) if wished.is_subset(&grant.scopes) => wished,
        Some(wished) => {
            return Err(Refusal::ScopeNotGranted {
                resource: grant.resource.clone(),
                allowed: grant.scopes.clone(),
                has_comma: wished.iter().any(|scope| scope.contains(',')),
            });
        }
    };
    Ok(Allowed {
        grant,
        scopes,
        at: now,
    })
}

/// The grant of a client that has one only, and need not name a resource.
pub fn only_grant(client: &ClientRecord, now: u64) -> Option<&Grant> {
    let mut alive = client.grants.iter().filter(|grant| grant.is_alive(now));
    alive.next().filter(|_| alive.next().is_none())
}

fn scopes(allowed: &ScopeSet) -> String {
    if allowed.is_empty() {
        "none".to_owned()
    } else {
        allowed.to_string()
    }
}

/// A few names, separated by commas; an answer stays readable when there are hundreds.
pub(crate) fn list(names: &[impl std::fmt::Display]) -> String {
    const SHOWN: usize = 10;
    let shown = names
        .iter()
        .take(SHOWN)
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use m2m::verify::Algorithm;

    use super::*;
    use crate::{
        client::{ClientId, ClientStatus},
        resource::{TokenFormat, TokenProfile},
    };

    fn client(grants: &[(&str, &str, Option<u64>)]) -> ClientRecord {
        ClientRecord {
            id: ClientId::parse("m3").unwrap(),
            owns: Box::default(),
            status: ClientStatus::Active,
            credentials: Box::default(),
            grants: grants
                .iter()
                .map(|(resource, scopes, expires_at)| Grant {
                    resource: ResourceId::parse(resource).unwrap(),
                    scopes: scopes.parse().unwrap(),
                    token_format: TokenFormat::Jwt,
                    token_profile: TokenProfile::Standard,
                    has_metadata_claims: false,
                    token_lifetime: 3600,
                    signing_alg: Algorithm::ES256,
                    expires_at: *expires_at,
                })
                .collect(),
        }
    }

    #[test]
    fn the_decision_is_a_table() {
        const NOW: u64 = 100;
        let nothing = client(&[]);
        let one = client(&[("m1", "hello list", None)]);
        let two = client(&[("m1", "hello", None), ("m2", "hello", None)]);
        let ended = client(&[("m1", "hello", Some(NOW)), ("m2", "hello", Some(NOW + 1))]);
        let unscoped = client(&[("m1", "", None)]);

        for (client, resource, scopes, expected) in [
            (&one, None, None, Ok(("m1", "hello list"))),
            (&one, None, Some("hello"), Ok(("m1", "hello"))),
            (&one, Some("m1"), Some("list"), Ok(("m1", "list"))),
            (&two, Some("m2"), None, Ok(("m2", "hello"))),
            (&ended, None, None, Ok(("m2", "hello"))),
            (&unscoped, None, None, Ok(("m1", ""))),
            (&nothing, None, None, Err("may not call any resource")),
            (&nothing, Some("m1"), None, Err("may not call any resource")),
            (&two, None, None, Err("may call m1, m2")),
            (
                &two,
                Some("m3"),
                None,
                Err("no grant for that resource: it may call m1, m2"),
            ),
            (&two, Some("M1"), None, Err("no grant for that resource")),
            (&one, Some(""), None, Err("no grant for that resource")),
            (&ended, Some("m1"), None, Err("it may call m2")),
            (
                &one,
                None,
                Some("hello write"),
                Err("does not allow all of these scopes: it allows hello list"),
            ),
            (&one, None, Some("HELLO"), Err("it allows hello list")),
            (
                &one,
                None,
                Some("hello,list"),
                Err("it allows hello list; separate scopes by spaces"),
            ),
            (&unscoped, None, Some("hello"), Err("it allows none")),
        ] {
            let wish = Wish {
                resource: resource.map(str::to_owned),
                scopes: scopes.map(|scopes: &str| scopes.parse().unwrap()),
            };
            match (decide(client, &wish, NOW), expected) {
                (Ok(allowed), Ok((resource, scopes))) => {
                    assert_eq!(allowed.grant.resource.as_str(), resource);
                    assert_eq!(allowed.scopes.to_string(), scopes);
                }
                (Err(refusal), Err(part)) => {
                    assert!(refusal.to_string().contains(part), "{refusal}");
                }
                (got, expected) => panic!("{wish:?}: {got:?}, expected {expected:?}"),
            }
        }
    }

    #[test]
    fn a_long_list_of_choices_is_cut() {
        let names = (0..25).collect::<Vec<_>>();
        assert!(list(&names).ends_with("8, 9 and 15 more"));
        assert_eq!(list(&names[..10]), "0, 1, 2, 3, 4, 5, 6, 7, 8, 9");
    }
}
