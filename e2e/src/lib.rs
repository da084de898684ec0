//! Nothing but tests: journeys across all programs, in `tests/journeys`.
