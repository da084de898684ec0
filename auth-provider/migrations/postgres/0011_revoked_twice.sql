-- A revocation is one row at the end of the table and nothing else. The names of tokens and the ends of their lives lie all
-- over an index, so that each entry of one is a page to write. A token that two servers take back in the same moment has two
-- rows, which say the same.
ALTER TABLE revocation DROP CONSTRAINT revocation_jti_key;
DROP INDEX revocation_by_end;
