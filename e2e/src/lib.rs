//! Journeys across all programs, in `tests/journeys`, and [`mistakes`]: what people get wrong at first, which
//! the journeys make on purpose and `docs/troubleshooting.md` tells of.

pub mod mistakes;
