-- A long log is summed up client by client, so that clients who are neighbours in a table are summed up together. Where
-- summing_up_to is beyond used_up_to, that goes on: the events up to there are summed up for the clients up to summed_client.
ALTER TABLE registry_state ADD COLUMN summing_up_to BIGINT NOT NULL DEFAULT 0;
ALTER TABLE registry_state ADD COLUMN summed_client TEXT NOT NULL DEFAULT '';
