-- No longer used. It stays, so that the MySQL user does not need the DROP privilege.
CREATE TABLE IF NOT EXISTS eventctl_copy (
    token VARCHAR(64) NOT NULL PRIMARY KEY,
    is_source SMALLINT NOT NULL,
    other_side TEXT NOT NULL,
    last_event BIGINT NOT NULL,
    begun_at BIGINT NOT NULL,
    verified_at BIGINT
){end};
