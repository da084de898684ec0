//! What is to be done about a connection whose token somebody wants: a function of the row and the clock.

use crate::{connection::Broken, storage::State};

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The token is good.
    Serve,
    /// The token is at its end, and nobody refreshes it.
    Refresh,
    /// Somebody refreshes it: until then at the latest, in milliseconds since 1970. Meanwhile the provider may have voided
    /// the token that is here.
    Wait { until: u64 },
    /// The last attempt failed and the token has ended: from then on it may be tried again.
    BackOff { until: u64 },
    /// Only its user can help.
    NeedsReconnect(Broken),
}

/// Decides at the moment `now`, in milliseconds since 1970.
pub fn decide(row: impl Into<State>, now: u64) -> Decision {
    let row = row.into();
    if let Some(broken) = row.broken {
        return Decision::NeedsReconnect(broken);
    }
    let has_ended = row.times.expires_at.is_some_and(|end| end <= now);
    let Some(refresh_from) = row.times.refresh_from else {
        return if has_ended {
            Decision::NeedsReconnect(Broken::Ended)
        } else {
            Decision::Serve
        };
    };
    if now < refresh_from {
        return Decision::Serve;
    }
    if let Some(until) = row.leased_until.filter(|until| now < *until) {
        return Decision::Wait { until };
    }
    match row.retry_from.filter(|from| now < *from) {
        Some(until) if has_ended => Decision::BackOff { until },
        Some(_) => Decision::Serve,
        None => Decision::Refresh,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Times;

    /// A token that ends at 100 and is refreshed from 75 on.
    fn row() -> State {
        State {
            times: Times {
                expires_at: Some(100),
                refresh_from: Some(75),
            },
            broken: None,
            leased_until: None,
            retry_from: None,
        }
    }

    #[test]
    fn a_token_is_served_refreshed_or_waited_for() {
        use Decision::{BackOff, NeedsReconnect, Refresh, Serve, Wait};
        let leased = State {
            leased_until: Some(90),
            ..row()
        };
        let failed = State {
            retry_from: Some(110),
            ..row()
        };
        let endless = State {
            times: Times::default(),
            ..row()
        };
        let alone = State {
            times: Times {
                expires_at: Some(100),
                refresh_from: None,
            },
            ..row()
        };
        let broken = State {
            broken: Some(Broken::Refused),
            ..row()
        };
        for (row, now, expected) in [
            (row(), 74, Serve),
            (row(), 75, Refresh),
            (row(), 1000, Refresh),
            (leased, 74, Serve),
            (leased, 89, Wait { until: 90 }),
            (leased, 90, Refresh),
            (failed, 99, Serve),
            (failed, 100, BackOff { until: 110 }),
            (failed, 110, Refresh),
            (endless, u64::MAX, Serve),
            (alone, 99, Serve),
            (alone, 100, NeedsReconnect(Broken::Ended)),
            (broken, 0, NeedsReconnect(Broken::Refused)),
        ] {
            assert_eq!(decide(row, now), expected, "{row:?} at {now}");
        }
    }
}
