-- The events of a client are looked up stretch by stretch. In an index by the client alone the event of each of very many
-- clients lies on a page of its own, and each of these pages is written.

DROP INDEX audit_event_by_client;
CREATE INDEX audit_event_by_stretch ON audit_event (number / 4096, client_id) WHERE client_id IS NOT NULL;
