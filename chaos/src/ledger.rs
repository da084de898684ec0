//! What the server owes: each fact that it acknowledged, until it acknowledges that the fact is another one.
//!
//! Whoever asks for a change says so [before](Ledger::begin) the request is sent. When the answer comes, the change is
//! [acknowledged](Ledger::acknowledge) or [refused](Ledger::refuse). When none comes, nobody can know whether it happened: it
//! stays in doubt, and either outcome is right. But it has happened as a whole or not at all, and what was
//! [seen](Ledger::see) of it once is a fact from then on.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
};

use secrecy::SecretString;
use serde::Serialize;

/// Something that the server can remember or forget.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Thing {
    Client(String),
    Grant {
        client: String,
        resource: String,
    },
    Credential {
        client: String,
        id: String,
    },
    /// Gone is one that was revoked.
    Token {
        client: String,
        resource: String,
        name: String,
    },
    /// A public key that verifiers are told of.
    Key(String),
}

/// What kinds of things there are, for the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Clients,
    Grants,
    Secrets,
    Tokens,
    Keys,
}

impl Thing {
    pub fn grant(client: &str, resource: &str) -> Self {
        Self::Grant {
            client: client.to_owned(),
            resource: resource.to_owned(),
        }
    }

    pub fn credential(client: &str, id: &str) -> Self {
        Self::Credential {
            client: client.to_owned(),
            id: id.to_owned(),
        }
    }

    pub fn kind(&self) -> Kind {
        match self {
            Self::Client(_) => Kind::Clients,
            Self::Grant { .. } => Kind::Grants,
            Self::Credential { .. } => Kind::Secrets,
            Self::Token { .. } => Kind::Tokens,
            Self::Key(_) => Kind::Keys,
        }
    }

    /// The client that it goes with when that is removed.
    pub fn client(&self) -> Option<&str> {
        match self {
            Self::Client(client)
            | Self::Grant { client, .. }
            | Self::Credential { client, .. }
            | Self::Token { client, .. } => Some(client),
            Self::Key(_) => None,
        }
    }
}

/// Names only: a ledger knows secrets, and shows none.
impl fmt::Display for Thing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(client) => write!(f, "the client {client}"),
            Self::Grant { client, resource } => write!(f, "the grant of {client} for {resource}"),
            Self::Credential { client, id } => write!(f, "the secret {id} of {client}"),
            Self::Token {
                client,
                resource,
                name,
            } => write!(f, "the token {name} of {client} for {resource}"),
            Self::Key(kid) => write!(f, "the key {kid}"),
        }
    }
}

/// How a thing stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    Gone,
    /// It is there, and this is what can change about it.
    There(String),
}

impl State {
    /// There, with nothing about it that could change.
    pub fn there() -> Self {
        Self::There(String::new())
    }

    /// There or not.
    pub fn is(there: bool) -> Self {
        if there { Self::there() } else { Self::Gone }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => f.write_str("gone"),
            Self::There(detail) if detail.is_empty() => f.write_str("there"),
            Self::There(detail) => write!(f, "there ({detail})"),
        }
    }
}

/// What the server acknowledged and then knew nothing of, or something else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Loss {
    pub kind: Kind,
    pub what: String,
}

/// A change that was asked for. Whoever has it can say how it ended, or ask again.
#[derive(Debug)]
pub struct Asked {
    number: u64,
    changes: Vec<(Thing, State)>,
}

#[derive(Debug)]
struct Fact {
    state: State,
    /// The change that may have made another one of it.
    doubt: Option<u64>,
}

#[derive(Debug)]
struct Doubt {
    changes: Vec<(Thing, State)>,
    /// Which of its outcomes was seen.
    happened: Option<bool>,
}

/// The facts, and what was found of them.
#[derive(Default)]
pub struct Ledger {
    facts: BTreeMap<Thing, Fact>,
    doubts: HashMap<u64, Doubt>,
    asked: u64,
    secrets: HashMap<Thing, SecretString>,
    acknowledged: BTreeMap<Kind, u64>,
    losses: Vec<Loss>,
}

impl Ledger {
    /// A request is about to be sent that changes these things, all of them or none.
    pub fn begin(&mut self, changes: Vec<(Thing, State)>) -> Asked {
        self.asked += 1;
        let asked = Asked {
            number: self.asked,
            changes,
        };
        self.again(&asked);
        asked
    }

    /// The request is about to be sent once more, since nobody knows what came of it.
    pub fn again(&mut self, asked: &Asked) {
        let Asked { number, changes } = asked;
        if self.doubts.contains_key(number) {
            return;
        }
        for (thing, _) in changes {
            let fact = self.fact(thing);
            fact.doubt = Some(*number);
        }
        let doubt = Doubt {
            changes: changes.clone(),
            happened: None,
        };
        self.doubts.insert(*number, doubt);
    }

    /// The server says that it is done.
    pub fn acknowledge(&mut self, asked: Asked) {
        for (thing, _) in &asked.changes {
            *self.acknowledged.entry(thing.kind()).or_default() += 1;
        }
        self.end(asked, true);
    }

    /// The server says that it is not.
    pub fn refuse(&mut self, asked: Asked) {
        self.end(asked, false);
    }

    fn end(&mut self, asked: Asked, done: bool) {
        self.doubts.remove(&asked.number);
        for (thing, after) in asked.changes {
            let fact = self.fact(&thing);
            if done {
                fact.state = after;
            }
            fact.doubt = None;
        }
    }

    /// The server told of something new, and of what proves it where that is a secret.
    pub fn learn(&mut self, thing: Thing, state: State, proof: Option<SecretString>) {
        *self.acknowledged.entry(thing.kind()).or_default() += 1;
        *self.fact(&thing) = Fact { state, doubt: None };
        if let Some(proof) = proof {
            self.secrets.insert(thing, proof);
        }
    }

    /// How the thing is in the server's own words, told by `how`. It is a loss unless it was acknowledged, or may have
    /// become so by a change in doubt, the whole of which then has happened.
    pub fn see(&mut self, thing: &Thing, seen: &State, how: &str) {
        let fact = self.fact(thing);
        let before = fact.state.clone();
        let in_doubt = fact.doubt.and_then(|number| self.doubts.get_mut(&number));
        let after = in_doubt.as_ref().and_then(|doubt| {
            let (_, after) = doubt.changes.iter().find(|(changed, _)| changed == thing)?;
            Some(after.clone())
        });
        let expected = match (in_doubt, after) {
            (Some(doubt), Some(after)) if after != before => match doubt.happened {
                Some(true) => after.to_string(),
                Some(false) => before.to_string(),
                None if *seen == after || *seen == before => {
                    doubt.happened = Some(*seen == after);
                    return;
                }
                None => format!("{before} or {after}"),
            },
            _ => before.to_string(),
        };
        if expected != seen.to_string() {
            // It is told once, and held to what it says now.
            self.fact(thing).state = seen.clone();
            self.lose(
                thing,
                format!("{thing} is {seen} by {how}, and was acknowledged as {expected}"),
            );
        }
    }

    /// What was seen of changes in doubt is a fact from now on. What nobody has seen stays in doubt.
    pub fn settle(&mut self) {
        let seen: Vec<u64> = self
            .doubts
            .iter()
            .filter(|(_, doubt)| doubt.happened.is_some())
            .map(|(number, _)| *number)
            .collect();
        for number in seen {
            let Some(doubt) = self.doubts.remove(&number) else {
                continue;
            };
            for (thing, after) in doubt.changes {
                let fact = self.fact(&thing);
                if doubt.happened == Some(true) {
                    fact.state = after;
                }
                fact.doubt = None;
            }
        }
    }

    /// A loss that shows elsewhere than in a thing's own state.
    pub fn lose(&mut self, thing: &Thing, what: String) {
        let kind = thing.kind();
        self.losses.push(Loss { kind, what });
    }

    fn fact(&mut self, thing: &Thing) -> &mut Fact {
        if !self.facts.contains_key(thing) {
            let unheard_of = Fact {
                state: State::Gone,
                doubt: None,
            };
            self.facts.insert(thing.clone(), unheard_of);
        }
        self.facts.get_mut(thing).expect("it is there by now")
    }

    /// How the thing stands, when there is no doubt about it.
    pub fn certain(&self, thing: &Thing) -> Option<&State> {
        let fact = self.facts.get(thing)?;
        fact.doubt.is_none().then_some(&fact.state)
    }

    /// Everything that was ever asked for or told.
    pub fn things(&self) -> impl Iterator<Item = &Thing> {
        self.facts.keys()
    }

    /// What goes when this client does, as it stands now: what is gone already and certainly so is left out.
    pub fn of_client(&self, client: &str) -> Vec<Thing> {
        let there = |thing: &&Thing| {
            thing.client() == Some(client) && self.certain(thing) != Some(&State::Gone)
        };
        self.things().filter(there).cloned().collect()
    }

    /// What proves a credential, and a token itself.
    pub fn secret(&self, thing: &Thing) -> Option<&SecretString> {
        self.secrets.get(thing)
    }

    /// How many changes were acknowledged, by kind.
    pub fn acknowledged(&self) -> &BTreeMap<Kind, u64> {
        &self.acknowledged
    }

    pub fn losses(&self) -> &[Loss] {
        &self.losses
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client() -> Thing {
        Thing::Client("a".to_owned())
    }

    fn named(name: &str) -> State {
        State::There(name.to_owned())
    }

    /// A ledger in which the client `a` was acknowledged.
    fn with_client() -> Ledger {
        let mut ledger = Ledger::default();
        let asked = ledger.begin(vec![(client(), named("one"))]);
        ledger.acknowledge(asked);
        ledger
    }

    fn losses(ledger: &Ledger) -> usize {
        ledger.losses().len()
    }

    #[test]
    fn what_was_acknowledged_and_is_gone_is_lost() {
        let mut ledger = with_client();
        ledger.see(&client(), &named("one"), "its name");
        assert_eq!(ledger.losses(), []);
        for _ in 0..2 {
            ledger.see(&client(), &State::Gone, "the list");
        }
        let [loss] = ledger.losses() else {
            panic!("one loss: {:?}", ledger.losses());
        };
        assert_eq!(loss.kind, Kind::Clients);
        assert_eq!(
            loss.what,
            "the client a is gone by the list, and was acknowledged as there (one)"
        );
    }

    #[test]
    fn what_was_taken_away_and_is_back_is_lost_and_so_is_an_old_name() {
        let mut ledger = with_client();
        let asked = ledger.begin(vec![(client(), named("two"))]);
        ledger.acknowledge(asked);
        ledger.see(&client(), &named("one"), "its name");
        assert_eq!(losses(&ledger), 1);

        let asked = ledger.begin(vec![(client(), State::Gone)]);
        ledger.acknowledge(asked);
        ledger.see(&client(), &named("two"), "the list");
        assert_eq!(losses(&ledger), 2);
    }

    #[test]
    fn without_an_answer_either_outcome_is_right_but_it_stays_what_it_was_seen_to_be() {
        for outcome in [named("one"), named("two")] {
            let mut ledger = with_client();
            let _no_answer = ledger.begin(vec![(client(), named("two"))]);
            assert_eq!(ledger.certain(&client()), None);
            ledger.see(&client(), &outcome, "its name");
            ledger.settle();
            assert_eq!(losses(&ledger), 0);
            assert_eq!(ledger.certain(&client()), Some(&outcome));
            let other = if outcome == named("one") {
                "two"
            } else {
                "one"
            };
            ledger.see(&client(), &named(other), "its name");
            assert_eq!(losses(&ledger), 1, "it was {outcome} before");
        }
        let mut ledger = with_client();
        let _no_answer = ledger.begin(vec![(client(), named("two"))]);
        ledger.see(&client(), &State::Gone, "the list");
        assert_eq!(losses(&ledger), 1, "neither of the two");
    }

    #[test]
    fn half_of_a_change_is_a_loss() {
        let grant = Thing::grant("a", "files");
        let mut ledger = with_client();
        ledger.learn(grant.clone(), named("read"), None);
        let both = vec![(client(), State::Gone), (grant.clone(), State::Gone)];
        let _no_answer = ledger.begin(both);
        ledger.see(&client(), &State::Gone, "the list");
        ledger.see(&grant, &named("read"), "the list");
        assert_eq!(losses(&ledger), 1);
    }

    #[test]
    fn a_refusal_changes_nothing() {
        let mut ledger = with_client();
        let asked = ledger.begin(vec![(client(), State::Gone)]);
        ledger.refuse(asked);
        ledger.see(&client(), &State::Gone, "the list");
        assert_eq!(losses(&ledger), 1);
    }

    #[test]
    fn a_change_that_is_asked_for_again_is_one_change() {
        let mut ledger = with_client();
        let asked = ledger.begin(vec![(client(), named("two"))]);
        ledger.see(&client(), &named("one"), "its name");
        ledger.settle();
        ledger.again(&asked); // it has not happened, and may now
        assert_eq!(ledger.certain(&client()), None);
        ledger.see(&client(), &named("two"), "its name");
        ledger.acknowledge(asked);
        assert_eq!(losses(&ledger), 0);
        assert_eq!(ledger.certain(&client()), Some(&named("two")));
    }

    #[test]
    fn what_nobody_heard_of_is_not_expected() {
        let mut ledger = Ledger::default();
        ledger.see(&client(), &State::Gone, "the list");
        assert_eq!(losses(&ledger), 0);
        ledger.see(&client(), &State::there(), "the list");
        assert_eq!(losses(&ledger), 1);
    }
}
