//! Why a client may or may not have a token, in a sentence for people who do not know the rules. The answer itself is
//! [`policy::decide`]'s, and this module only finds the words.
//!
//! Only names that the server knows are named: what a caller sent may be a secret in the wrong place.

use m2m::ScopeSet;

use crate::{
    client::{ClientId, ClientRecord, ClientStatus, Grant},
    policy::{self, Allowed, Refusal, Wish},
    policy_file::shown_time,
    resource::ResourceId,
};

/// The answer, as a code for programs and a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    pub allowed: bool,
    pub code: &'static str,
    pub sentence: String,
    /// The resource that it is about, where one is known.
    pub resource: Option<ResourceId>,
}

/// What is known of the resource [in question](resource_in_question), from the registry.
#[derive(Clone, Copy, Debug)]
pub struct KnownResource<'a> {
    pub id: &'a ResourceId,
    /// The scopes that it defines.
    pub scopes: &'a ScopeSet,
    /// Why there is a grant for it, if there is one and it says so.
    pub reason: &'a str,
}

/// The resource that an explanation needs to know: the one that is named, or else the only one that the client may call.
pub fn resource_in_question(
    client: Option<&ClientRecord>,
    wish: &Wish,
    now: u64,
) -> Option<ResourceId> {
    match &wish.resource {
        Some(name) => ResourceId::parse(name).ok(),
        None => policy::only_grant(client?, now).map(|grant| grant.resource.clone()),
    }
}

/// Says whether `client` gets what it wishes for at the time `now`, and why. `None` stands for a client, or a resource,
/// that does not exist.
pub fn explain(
    client: Option<&ClientRecord>,
    wish: &Wish,
    resource: Option<KnownResource<'_>>,
    now: u64,
) -> Explanation {
    let Some(client) = client else {
        return no_such_client();
    };
    // It counts only for the resource that it is about.
    let resource = resource
        .filter(|known| Some(known.id) == resource_in_question(Some(client), wish, now).as_ref());
    let case = Case {
        client,
        wish,
        resource,
        now,
    };
    let explanation = if client.status == ClientStatus::Inactive {
        inactive(&client.id)
    } else {
        match policy::decide(client, wish, now) {
            Ok(allowed) => case.granted(&allowed),
            Err(refusal) => case.refused(&refusal),
        }
    };
    match resource {
        Some(known) => explanation.about(known.id),
        None => explanation,
    }
}

/// The same for who cannot even prove who it is. The name is not repeated: it may be a secret that was swapped with it.
pub fn no_such_client() -> Explanation {
    let what = "There is no client of that name: check how it is spelled, or create it";
    Explanation::no("no_such_client", what.to_owned())
}

/// The same for a client that was switched off.
pub fn inactive(id: &ClientId) -> Explanation {
    let sentence =
        format!("{id} gets no token: the client {id} is inactive, until somebody activates it");
    Explanation::no("client_inactive", sentence)
}

struct Case<'a> {
    client: &'a ClientRecord,
    wish: &'a Wish,
    resource: Option<KnownResource<'a>>,
    now: u64,
}

impl Case<'_> {
    fn granted(&self, allowed: &Allowed<'_>) -> Explanation {
        let id = &self.client.id;
        let resource = &allowed.grant.resource;
        let with = if allowed.scopes.is_empty() {
            "without any scope".to_owned()
        } else {
            format!("with {}", allowed.scopes)
        };
        let reason = match self.resource.map_or("", |known| known.reason) {
            "" => String::new(),
            reason => format!(" (reason: {reason})"),
        };
        let mut sentence = format!(
            "{id} may call {resource} {with}: the grant {id} -> {resource} says so{reason}"
        );
        if !self.client.can_authenticate(self.now) {
            sentence +=
                ", but it has no credential that is valid, so that it cannot ask: create one";
        }
        Explanation {
            allowed: true,
            ..Explanation::no("granted", sentence).about(resource)
        }
    }

    fn refused(&self, refusal: &Refusal) -> Explanation {
        let id = &self.client.id;
        match (refusal, &self.wish.resource, self.resource) {
            (
                Refusal::ScopeNotGranted {
                    resource, allowed, ..
                },
                ..,
            ) => self.scope_missing(resource, allowed),
            (Refusal::Ambiguous { choices }, ..) => {
                let sentence = format!(
                    "{id} names no resource and has more than one grant: it has to name one of {}",
                    policy::list(choices)
                );
                Explanation::no("resource_missing", sentence)
            }
            (Refusal::NoGrants | Refusal::NotGranted { .. }, Some(_), None) => {
                let sentence = format!(
                    "{id} may not call what it asks for: there is no resource of that name{}",
                    self.instead()
                );
                Explanation::no("no_such_resource", sentence)
            }
            (Refusal::NoGrants | Refusal::NotGranted { .. }, _, known) => {
                let known = known.map(|known| known.id);
                match (self.ended(known), known, refusal) {
                    (Some((grant, end)), ..) => self.grant_ended(grant, end),
                    (None, Some(resource), Refusal::NoGrants) => {
                        self.no_grant("no_grants", resource)
                    }
                    (None, Some(resource), _) => self.no_grant("no_grant", resource),
                    (None, None, _) => {
                        let sentence = format!(
                            "{id} may not call anything: it has no grant, and needs one for each resource that \
                             it is to call"
                        );
                        Explanation::no("no_grants", sentence)
                    }
                }
            }
        }
    }

    fn no_grant(&self, code: &'static str, resource: &ResourceId) -> Explanation {
        let id = &self.client.id;
        let sentence = format!(
            "{id} may not call {resource}: there is no grant {id} -> {resource}{}",
            self.instead()
        );
        Explanation::no(code, sentence)
    }

    fn grant_ended(&self, grant: &Grant, end: u64) -> Explanation {
        let id = &self.client.id;
        let resource = &grant.resource;
        let sentence = format!(
            "{id} may not call {resource}: the grant {id} -> {resource} ended at {}, and needs a later end",
            shown_time(end)
        );
        Explanation::no("grant_ended", sentence).about(resource)
    }

    fn scope_missing(&self, resource: &ResourceId, allowed: &ScopeSet) -> Explanation {
        let id = &self.client.id;
        let arrow = format!("{id} -> {resource}");
        let has = if allowed.is_empty() {
            "it has none".to_owned()
        } else {
            format!("it has {allowed}")
        };
        let wished = self.wish.scopes.clone().unwrap_or_default();
        let Some(known) = self.resource else {
            let sentence = format!("the grant {arrow} does not have all of these scopes, {has}");
            return Explanation::no("scope_not_granted", sentence);
        };
        if !wished.is_subset(known.scopes) {
            let defined = if known.scopes.is_empty() {
                "it defines none".to_owned()
            } else {
                format!("it defines {}", known.scopes)
            };
            let sentence = format!(
                "{id} may not call {resource} with all of these scopes: {resource} does not define one that is \
                 asked for, {defined}"
            );
            return Explanation::no("scope_not_defined", sentence);
        }
        let missing: Vec<&str> = known
            .scopes
            .iter()
            .filter(|scope| wished.contains(scope) && !allowed.contains(scope))
            .collect();
        let (missing, scope) = (
            missing.join(" "),
            if missing.len() == 1 {
                "scope"
            } else {
                "scopes"
            },
        );
        let sentence = format!(
            "{id} may not call {resource} with {missing}: the grant {arrow} does not have the {scope} {missing}, \
             {has}"
        );
        Explanation::no("scope_not_granted", sentence)
    }

    /// What the client could call instead, as the end of a sentence.
    fn instead(&self) -> String {
        let choices: Vec<&ResourceId> = self.alive().map(|grant| &grant.resource).collect();
        if choices.is_empty() {
            "; it may not call anything".to_owned()
        } else {
            format!("; it may call {}", policy::list(&choices))
        }
    }

    fn alive(&self) -> impl Iterator<Item = &Grant> {
        self.client
            .grants
            .iter()
            .filter(|grant| grant.is_alive(self.now))
    }

    /// The grant for this resource, or for any if none is named, that ended last.
    fn ended(&self, resource: Option<&ResourceId>) -> Option<(&Grant, u64)> {
        self.client
            .grants
            .iter()
            .filter(|grant| resource.is_none_or(|id| *id == grant.resource))
            .filter(|grant| !grant.is_alive(self.now))
            .filter_map(|grant| Some((grant, grant.expires_at?)))
            .max_by_key(|(_, end)| *end)
    }
}

impl Explanation {
    fn no(code: &'static str, sentence: String) -> Self {
        Self {
            allowed: false,
            code,
            sentence: sentence + ".",
            resource: None,
        }
    }

    fn about(self, resource: &ResourceId) -> Self {
        Self {
            resource: Some(resource.clone()),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use m2m::verify::Algorithm;

    use super::*;
    use crate::{
        client::{Credential, CredentialId, SecretHash},
        resource::{TokenFormat, TokenProfile},
    };

    const NOW: u64 = 1_767_225_600;

    fn client(id: &str, grants: &[(&str, &str, Option<u64>)]) -> ClientRecord {
        ClientRecord {
            id: ClientId::parse(id).unwrap(),
            owns: Box::default(),
            status: ClientStatus::Active,
            credentials: [Credential {
                id: CredentialId::generate(),
                secret: SecretHash::of(""),
                expires_at: None,
            }]
            .into(),
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

    /// `m1` and `m2` exist, with the scopes `hello` and `write`; the grants' reason is `Because`.
    fn explained(
        client: Option<&ClientRecord>,
        resource: Option<&str>,
        scopes: Option<&str>,
    ) -> Explanation {
        let wish = Wish {
            resource: resource.map(str::to_owned),
            scopes: scopes.map(|scopes| scopes.parse().unwrap()),
        };
        let id = resource_in_question(client, &wish, NOW);
        let id = id.filter(|id| ["m1", "m2"].contains(&id.as_str()));
        let scopes = "hello write".parse().unwrap();
        let known = id.as_ref().map(|id| KnownResource {
            id,
            scopes: &scopes,
            reason: "Because",
        });
        explain(client, &wish, known, NOW)
    }

    type Row<'a> = (&'a ClientRecord, [Option<&'a str>; 2], &'a str, &'a str);

    /// Each row: who wishes for which resource and scopes, and the answer's code and sentence.
    fn assert_explained(rows: &[Row<'_>]) {
        for (client, [resource, scopes], code, sentence) in rows {
            let explanation = explained(Some(client), *resource, *scopes);
            assert_eq!(explanation.sentence, *sentence);
            assert_eq!(explanation.code, *code, "{sentence}");
            assert_eq!(explanation.allowed, *code == "granted", "{sentence}");
        }
    }

    #[test]
    fn a_client_that_may_call_hears_which_grant_says_so() {
        let one = client("m3", &[("m1", "hello", None)]);
        let bare = client("m3", &[("m1", "", None)]);
        let mut mute = one.clone();
        mute.credentials[0].expires_at = Some(NOW);
        let hello = "m3 may call m1 with hello: the grant m3 -> m1 says so (reason: Because).";
        assert_explained(&[
            (&one, [Some("m1"), None], "granted", hello),
            (&one, [None, Some("hello")], "granted", hello),
            (
                &bare,
                [None, None],
                "granted",
                "m3 may call m1 without any scope: the grant m3 -> m1 says so (reason: Because).",
            ),
            (
                &mute,
                [None, None],
                "granted",
                "m3 may call m1 with hello: the grant m3 -> m1 says so (reason: Because), but it has \
                 no credential that is valid, so that it cannot ask: create one.",
            ),
        ]);
    }

    #[test]
    fn a_client_that_does_not_exist_or_is_inactive_gets_nothing() {
        let mut inactive = client("m3", &[("m1", "hello", None)]);
        inactive.status = ClientStatus::Inactive;
        assert_explained(&[(
            &inactive,
            [Some("m1"), None],
            "client_inactive",
            "m3 gets no token: the client m3 is inactive, until somebody activates it.",
        )]);
        let nobody = explained(None, Some("m1"), None);
        assert_eq!((nobody.allowed, nobody.code), (false, "no_such_client"));
        assert_eq!(
            nobody.sentence,
            "There is no client of that name: check how it is spelled, or create it."
        );
    }

    #[test]
    fn a_missing_arrow_is_named() {
        let nothing = client("m3", &[]);
        let one = client("m3", &[("m1", "hello", None)]);
        let two = client("m3", &[("m1", "hello", None), ("m2", "hello write", None)]);
        let no_name = "m3 may not call what it asks for: there is no resource of that name; it may \
                       call m1.";
        assert_explained(&[
            (
                &nothing,
                [None, None],
                "no_grants",
                "m3 may not call anything: it has no grant, and needs one for each resource that it is \
                 to call.",
            ),
            (
                &nothing,
                [Some("m1"), None],
                "no_grants",
                "m3 may not call m1: there is no grant m3 -> m1; it may not call anything.",
            ),
            (
                &nothing,
                [Some("m9"), None],
                "no_such_resource",
                "m3 may not call what it asks for: there is no resource of that name; it may not call \
                 anything.",
            ),
            (&one, [Some("m9"), None], "no_such_resource", no_name),
            (&one, [Some("a b"), None], "no_such_resource", no_name),
            (
                &one,
                [Some("m2"), None],
                "no_grant",
                "m3 may not call m2: there is no grant m3 -> m2; it may call m1.",
            ),
            (
                &two,
                [None, None],
                "resource_missing",
                "m3 names no resource and has more than one grant: it has to name one of m1, m2.",
            ),
        ]);
    }

    #[test]
    fn a_grant_that_ended_is_told_from_one_that_never_was() {
        let ended = client("m3", &[("m1", "hello", Some(NOW)), ("m2", "hello", None)]);
        let both = [("m1", "hello", Some(NOW - 60)), ("m2", "hello", Some(NOW))];
        let all_ended = client("m3", &both);
        assert_explained(&[
            (
                &ended,
                [Some("m1"), None],
                "grant_ended",
                "m3 may not call m1: the grant m3 -> m1 ended at 2026-01-01T00:00:00Z, and needs a \
                 later end.",
            ),
            (
                &all_ended,
                [None, None],
                "grant_ended",
                "m3 may not call m2: the grant m3 -> m2 ended at 2026-01-01T00:00:00Z, and needs a \
                 later end.",
            ),
        ]);
    }

    #[test]
    fn a_missing_scope_is_named_if_the_resource_knows_it() {
        let one = client("m3", &[("m1", "hello", None)]);
        let bare = client("m3", &[("m1", "", None)]);
        assert_explained(&[
            (
                &one,
                [Some("m1"), Some("hello write")],
                "scope_not_granted",
                "m3 may not call m1 with write: the grant m3 -> m1 does not have the scope write, it \
                 has hello.",
            ),
            (
                &bare,
                [None, Some("hello write")],
                "scope_not_granted",
                "m3 may not call m1 with hello write: the grant m3 -> m1 does not have the scopes hello \
                 write, it has none.",
            ),
            (
                &one,
                [None, Some("hello m2m_secret")],
                "scope_not_defined",
                "m3 may not call m1 with all of these scopes: m1 does not define one that is asked for, \
                 it defines hello write.",
            ),
        ]);
    }

    #[test]
    fn an_explanation_says_which_resource_it_is_about() {
        let ended = client("m3", &[("m1", "hello", Some(NOW))]);
        let about = |explanation: Explanation| explanation.resource.map(|id| id.to_string());
        assert_eq!(
            about(explained(Some(&ended), None, None)).as_deref(),
            Some("m1")
        );
        assert_eq!(
            about(explained(Some(&ended), Some("m2"), None)).as_deref(),
            Some("m2")
        );
        assert_eq!(about(explained(Some(&ended), Some("m9"), None)), None);
    }
}
