//! The SQL of refreshes: the lease, what came of it, and what is due. Races are decided by the statements themselves: each
//! change of a row says in its `WHERE` what the row must be like, and the row count says whether it was.

pub(super) const CLAIM: &str = "
    UPDATE connection
    SET fence = fence + 1, leased_until = $7, spending = $8, doubt = $9
    WHERE application = $1 AND user_id = $2 AND service = $3 AND account = $4
      AND version = $5 AND fence = $6 AND broken IS NULL
      AND (leased_until IS NULL OR leased_until <= $10)";

pub(super) const SETTLE_REFRESHED: &str = "
    UPDATE connection
    SET version = $7, kek = $8, data_key = $9, sealed = $10, expires_at = $11,
        refresh_from = CASE WHEN contested = 1 AND $12 IS NOT NULL THEN $13 ELSE $12 END,
        refreshed_at = $13, leased_until = NULL, spending = NULL, failures = 0, retry_from = NULL,
        last_failure = NULL, contested = 0, doubt = CASE WHEN contested = 1 THEN 'crash' ELSE NULL END
    WHERE application = $1 AND user_id = $2 AND service = $3 AND account = $4
      AND version = $5 AND fence = $6";

pub(super) const SETTLE_FAILED: &str = "
    UPDATE connection
    SET leased_until = NULL, spending = NULL, doubt = $7, failures = $8, retry_from = $9,
        last_failure = $10
    WHERE application = $1 AND user_id = $2 AND service = $3 AND account = $4
      AND version = $5 AND fence = $6";

pub(super) const SETTLE_BROKEN: &str = "
    UPDATE connection
    SET version = $7, broken = $8, broken_since = $9, leased_until = NULL, spending = NULL
    WHERE application = $1 AND user_id = $2 AND service = $3 AND account = $4
      AND version = $5 AND fence = $6";

pub(super) const DUE: &str = "
    SELECT c.application, c.user_id, c.service, c.account
    FROM connection c
    JOIN last_use u ON u.application = c.application AND u.user_id = c.user_id
                   AND u.service = c.service AND u.account = c.account
    WHERE broken IS NULL AND refresh_from IS NOT NULL AND refresh_from <= $1
      AND u.at >= $2
      AND (leased_until IS NULL OR leased_until <= $3)
      AND (retry_from IS NULL OR retry_from <= $3)
      AND c.service = $5
    ORDER BY refresh_from LIMIT $4";

// Who is at it writes its own time and clears its own doubt; `contested` is what it leaves to its commit.
pub(super) const SUSPECT: &str = "
    UPDATE connection
    SET contested = CASE WHEN leased_until IS NULL THEN 0 ELSE 1 END,
        refresh_from = CASE WHEN leased_until IS NULL THEN $6 ELSE refresh_from END,
        doubt = CASE WHEN leased_until IS NULL THEN 'crash' ELSE doubt END
    WHERE application = $1 AND user_id = $2 AND service = $3 AND account = $4 AND stored_at = $5
      AND broken IS NULL AND refresh_from IS NOT NULL";

pub(super) const ATTENTION: &str = "
    SELECT service, COUNT(*) AS connections, MIN(broken_since) AS since FROM connection
    WHERE broken IS NOT NULL GROUP BY service ORDER BY service";
