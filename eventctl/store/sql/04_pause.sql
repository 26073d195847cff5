CREATE TABLE IF NOT EXISTS eventctl_pause (
    kind VARCHAR(8) NOT NULL,
    name {name} NOT NULL,
    paused_at BIGINT NOT NULL,
    why TEXT NOT NULL,
    PRIMARY KEY (kind, name)
){end};
