-- Packs are in the order of their times already, or nearly so: who looks for a time looks at all in front of their texts, as
-- who looks for a name does. An index was one more page to write for each pack.
DROP INDEX audit_pack_by_time;
