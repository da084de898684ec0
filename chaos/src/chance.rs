//! Chance that can be had again: the same seed makes the same choices.

use std::time::Duration;

/// Sebastiano Vigna's `SplitMix64`: small, and good enough to choose what to do next.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// Two numbers make one source: a run has a seed, and each of its parts a source of its own.
    pub fn new(seed: u64, part: u64) -> Self {
        let mut chance = Self(seed ^ part.wrapping_mul(0xA076_1D64_78BD_642F));
        chance.number();
        chance
    }

    fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.number() % end).unwrap_or(0)
    }

    /// One of them, where there are any.
    pub fn one_of<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        if all.is_empty() {
            return None;
        }
        all.get(self.below(all.len()))
    }

    /// A time of `from` to `to`.
    pub fn between(&mut self, from: Duration, to: Duration) -> Duration {
        let share = u32::try_from(self.below(1001)).unwrap_or(0);
        from + to.saturating_sub(from) * share / 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_choices_and_another_part_others() {
        let choices = |seed, part| {
            let mut chance = Chance::new(seed, part);
            (0..20).map(|_| chance.below(1000)).collect::<Vec<_>>()
        };
        assert_eq!(choices(7, 1), choices(7, 1));
        assert_ne!(choices(7, 1), choices(7, 2));
        assert_ne!(choices(7, 1), choices(8, 1));
    }

    #[test]
    fn times_and_numbers_stay_within_their_bounds() {
        let (from, to) = (Duration::from_millis(10), Duration::from_millis(20));
        let mut chance = Chance::new(1, 1);
        for _ in 0..1000 {
            assert!(chance.below(3) < 3);
            let time = chance.between(from, to);
            assert!(from <= time && time <= to);
        }
        assert_eq!(chance.one_of::<u8>(&[]), None);
    }
}
