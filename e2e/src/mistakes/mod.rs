//! What people get wrong at first, and what the programs say then: one table, from which
//! `docs/troubleshooting.md` is written ([`page()`]) and by which the programs are tested.
//!
//! `tests/journeys/mistakes` makes each of these mistakes with the programs themselves and compares what
//! they say with [`Mistake::says`]. So a message that changes is changed here, too, and the page with it.

mod administration;
mod assistant;
mod own_code;
mod page;
mod provider;
mod service;
mod token_request;
mod vault;

pub use page::page;

/// A mistake.
#[derive(Debug)]
pub struct Mistake {
    /// By which the test knows it.
    pub id: &'static str,
    /// What is wrong, as a headline.
    pub title: &'static str,
    /// What somebody typed, sent or wrote. Markdown.
    pub made_by: &'static str,
    /// What is said then, in at most two lines. `…` stands for what differs from one machine or request to the next;
    /// the servers have their usual ports.
    pub says: &'static str,
    /// Why. Markdown.
    pub cause: &'static str,
    /// What to do now. Markdown.
    pub next: &'static str,
}

/// Where a message is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// At the terminal, from the assistant.
    Assistant,
    /// From `auth-provider`, which does not start.
    Provider,
    /// From a command of `auth-provider` that talks to a running provider.
    Administration,
    /// In the answer to a token request.
    TokenRequest,
    /// In a service's answer to a request with a token, or in its log.
    Service,
    /// From `m2m` in a program of one's own.
    OwnCode,
    /// In an answer of the vault, or from a vault that does not start.
    Vault,
}

impl Place {
    /// In the order of the page.
    pub const ALL: [Self; 7] = [
        Self::Assistant,
        Self::Provider,
        Self::Administration,
        Self::TokenRequest,
        Self::Service,
        Self::OwnCode,
        Self::Vault,
    ];

    /// The mistakes whose messages are read here.
    pub fn mistakes(self) -> &'static [Mistake] {
        match self {
            Self::Assistant => &assistant::MISTAKES,
            Self::Provider => &provider::MISTAKES,
            Self::Administration => &administration::MISTAKES,
            Self::TokenRequest => &token_request::MISTAKES,
            Self::Service => &service::MISTAKES,
            Self::OwnCode => &own_code::MISTAKES,
            Self::Vault => &vault::MISTAKES,
        }
    }
}

impl Mistake {
    /// Whether a program that said this said what the table has: in it, in one piece, but for what stands at `…`.
    pub fn is_told_by(&self, said: &str) -> bool {
        let mut rest = said;
        self.says.split('…').all(|part| {
            let found = rest.split_once(part);
            found.is_some_and(|(_, behind)| {
                rest = behind;
                true
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn all() -> impl Iterator<Item = &'static Mistake> {
        Place::ALL.into_iter().flat_map(Place::mistakes)
    }

    #[test]
    fn each_mistake_has_a_name_of_its_own_and_something_to_say() {
        let ids: BTreeSet<_> = all().map(|mistake| mistake.id).collect();
        let titles: BTreeSet<_> = all().map(|mistake| mistake.title).collect();
        assert_eq!((ids.len(), titles.len()), (all().count(), all().count()));
        for Mistake {
            id,
            made_by,
            cause,
            next,
            ..
        } in all()
        {
            for text in [made_by, cause, next] {
                assert!(!text.is_empty() && !text.contains('\n'), "{id}: {text}");
            }
            for text in [cause, next] {
                assert!(text.ends_with('.'), "{id}: {text}");
            }
        }
    }

    #[test]
    fn a_message_has_one_or_two_lines() {
        for Mistake { id, says, .. } in all() {
            assert!((1..=2).contains(&says.lines().count()), "{id}: {says}");
            let longest = says.lines().map(|line| line.chars().count()).max();
            assert!(longest < Some(280), "{id}: {longest:?}");
        }
    }

    #[test]
    fn what_differs_is_passed_over_and_nothing_else() {
        let mistake = Mistake {
            says: "cannot read …/clients.json: … (see --help)",
            ..assistant::MISTAKES[0]
        };
        for (said, told) in [
            (
                "error: cannot read /a/clients.json: it is a folder (see --help)\n",
                true,
            ),
            ("cannot read /clients.json:  (see --help)", true),
            ("cannot read /clients.json: it is a folder", false),
            ("(see --help) cannot read /clients.json: no", false),
        ] {
            assert_eq!(mistake.is_told_by(said), told, "{said}");
        }
    }
}
