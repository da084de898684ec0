//! The tab "Tokens": what the assistant holds, without the tokens themselves.

use super::model::TokenInUse;

/// The tokens that were used since the start, one for each service and scope.
#[derive(Clone, Debug, Default)]
pub struct Held {
    /// By their service and scope.
    pub tokens: Vec<HeldToken>,
    /// The place of the cursor.
    pub at: usize,
    /// How many lines of the explanation are above the screen.
    pub scroll: usize,
}

/// A token and what is going on with it.
#[derive(Clone, Debug, PartialEq)]
pub struct HeldToken {
    /// Everything but its text.
    pub token: TokenInUse,
    /// What is going on.
    pub state: TokenState,
}

/// What is going on with a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenState {
    /// Nothing: it can be used.
    Good,
    /// Something is being done with it.
    Busy(Deed),
    /// It was taken back. It is kept, so that the next call shows what comes of that.
    Revoked,
}

/// What can be done with a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Put a fresh one in its place.
    Refresh,
    /// Take it back (RFC 7009).
    Revoke,
    /// Hand its text to the terminal's clipboard.
    Copy,
}

/// A deed and the token it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenWish {
    /// What is to be done.
    pub deed: Deed,
    /// The token's audience.
    pub resource: String,
    /// What it allows, separated by spaces.
    pub scopes: String,
}

impl Held {
    /// The token under the cursor.
    pub fn current(&self) -> Option<&HeldToken> {
        self.tokens.get(self.at)
    }

    /// Takes in a token that is used: in the place of the one before it, or as one more.
    pub fn take_in(&mut self, token: TokenInUse) {
        match self.find(&token.resource, &token.scopes) {
            // The same one again: if it was revoked, it still is.
            Some(held) if held.token == token && held.state == TokenState::Revoked => {}
            Some(held) => {
                *held = HeldToken {
                    token,
                    state: TokenState::Good,
                }
            }
            None => {
                let before = |held: &HeldToken| held.token.name() < token.name();
                let place = self.tokens.partition_point(before);
                // The cursor stays on its token.
                self.at += usize::from(!self.tokens.is_empty() && place <= self.at);
                self.tokens.insert(
                    place,
                    HeldToken {
                        token,
                        state: TokenState::Good,
                    },
                );
            }
        }
    }

    /// The token for this audience with these scopes.
    pub fn find(&mut self, resource: &str, scopes: &str) -> Option<&mut HeldToken> {
        let is_it =
            |held: &&mut HeldToken| held.token.resource == resource && held.token.scopes == scopes;
        self.tokens.iter_mut().find(is_it)
    }

    /// Moves the cursor as far as it goes.
    pub fn go(&mut self, by: isize) {
        let last = self.tokens.len().saturating_sub(1);
        self.choose(self.at.saturating_add_signed(by).min(last));
    }

    /// Moves the cursor to a token.
    pub fn choose(&mut self, place: usize) {
        if place != self.at && place < self.tokens.len() {
            (self.at, self.scroll) = (place, 0);
        }
    }

    /// Begins something with the token under the cursor, unless it is busy.
    pub fn begin(&mut self, deed: Deed) -> Option<TokenWish> {
        let held = self.tokens.get_mut(self.at)?;
        if matches!(held.state, TokenState::Busy(_)) {
            return None;
        }
        if deed != Deed::Copy {
            held.state = TokenState::Busy(deed);
        }
        Some(TokenWish {
            deed,
            resource: held.token.resource.clone(),
            scopes: held.token.scopes.clone(),
        })
    }

    /// Takes in how something ended; a fresh token comes by itself.
    pub fn end(&mut self, wish: &TokenWish, done: bool) {
        if let Some(held) = self.find(&wish.resource, &wish.scopes)
            && held.state == TokenState::Busy(wish.deed)
        {
            held.state = match (wish.deed, done) {
                (Deed::Revoke, true) => TokenState::Revoked,
                _ => TokenState::Good,
            };
        }
    }
}
