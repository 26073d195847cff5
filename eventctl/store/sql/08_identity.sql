-- The identity of this store, so that a state folder knows whose spool it has.
CREATE TABLE IF NOT EXISTS eventctl_store (
    id INTEGER NOT NULL PRIMARY KEY,
    identity VARCHAR(32) NOT NULL
){end};

INSERT INTO eventctl_store (id, identity) SELECT 1, '{random}' FROM eventctl_schema
    WHERE version = 1 AND NOT EXISTS (SELECT 1 FROM eventctl_store);
