//! The tab "Trace": what went over the wire since the start.

use std::collections::VecDeque;

use crate::exchange::Exchange;

/// So many are kept.
const MOST: usize = 500;

/// The exchanges of the session, in the order of their answers.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The last ones.
    pub exchanges: VecDeque<Exchange>,
    /// How many there were before the first of these.
    pub forgotten: usize,
    /// The place of the cursor.
    pub at: usize,
    /// Whether the cursor goes along with the newest.
    pub follows: bool,
    /// Whether the one under the cursor is shown with its headers and bodies.
    pub is_open: bool,
}

impl Default for Seen {
    fn default() -> Self {
        Self {
            exchanges: VecDeque::new(),
            forgotten: 0,
            at: 0,
            follows: true,
            is_open: false,
        }
    }
}

impl Seen {
    /// How many there have been.
    pub fn count(&self) -> usize {
        self.forgotten + self.exchanges.len()
    }

    /// Takes in one more.
    pub fn push(&mut self, exchange: Exchange) {
        self.exchanges.push_back(exchange);
        if self.exchanges.len() > MOST {
            self.exchanges.pop_front();
            self.forgotten += 1;
            self.at = self.at.saturating_sub(1);
        }
        if self.follows && !self.is_open {
            self.at = self.last();
        }
    }

    /// Moves the cursor as far as it goes; at the end it follows the newest.
    pub fn go(&mut self, by: isize) {
        self.choose(self.at.saturating_add_signed(by).min(self.last()));
    }

    /// Moves the cursor.
    pub fn choose(&mut self, place: usize) {
        if place < self.exchanges.len() {
            self.at = place;
            self.follows = place == self.last();
        }
    }

    fn last(&self) -> usize {
        self.exchanges.len().saturating_sub(1)
    }
}
