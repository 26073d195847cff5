-- Index names are global in a SQLite file, so they have the prefix, too.
CREATE TABLE IF NOT EXISTS eventctl_event (
    id {id},
    `key` {name} NOT NULL,
    name {name} NOT NULL,
    args {text} NOT NULL,
    expected TEXT NOT NULL,
    status SMALLINT NOT NULL DEFAULT 0,
    revision INTEGER NOT NULL DEFAULT 0,
    created_at BIGINT NOT NULL
){end};

CREATE TABLE IF NOT EXISTS eventctl_delivery (
    id {id},
    event_id BIGINT NOT NULL,
    handler {name} NOT NULL,
    state VARCHAR(8) NOT NULL,
    reason VARCHAR(16),
    attempts INTEGER NOT NULL DEFAULT 0,
    due_at BIGINT,
    claim VARCHAR(64),
    alone SMALLINT NOT NULL DEFAULT 0,
    waited BIGINT NOT NULL DEFAULT 0,
    took BIGINT,
    done_at BIGINT,
    last_error TEXT,
    reported_at BIGINT
){end};

CREATE TABLE IF NOT EXISTS eventctl_attempt (
    id {id},
    delivery_id BIGINT NOT NULL,
    number INTEGER NOT NULL,
    outcome VARCHAR(16) NOT NULL,
    ended_at BIGINT NOT NULL,
    took BIGINT,
    host VARCHAR(255) NOT NULL,
    error TEXT NOT NULL,
    traceback {text} NOT NULL,
    output {text} NOT NULL
){end};

CREATE TABLE IF NOT EXISTS eventctl_notice (
    id {id},
    kind VARCHAR(16) NOT NULL,
    delivery_id BIGINT,
    event_id BIGINT,
    subject TEXT,
    error TEXT,
    cause VARCHAR(16),
    created_at BIGINT NOT NULL,
    due_at BIGINT NOT NULL
){end};

CREATE TABLE IF NOT EXISTS eventctl_outbox (
    id {id},
    `key` {name},
    name {name} NOT NULL,
    args {text} NOT NULL,
    created_at BIGINT NOT NULL DEFAULT {now},
    held VARCHAR(255)
){end};

CREATE TABLE IF NOT EXISTS eventctl_breaker (
    handler {name} NOT NULL PRIMARY KEY,
    opened_at BIGINT NOT NULL,
    probed_at BIGINT NOT NULL,
    error TEXT NOT NULL
){end};

CREATE TABLE IF NOT EXISTS eventctl_sweep (
    id {id},
    host VARCHAR(255) NOT NULL,
    started_at BIGINT NOT NULL,
    ended_at BIGINT,
    succeeded INTEGER NOT NULL DEFAULT 0,
    retried INTEGER NOT NULL DEFAULT 0,
    failed INTEGER NOT NULL DEFAULT 0,
    rescued INTEGER NOT NULL DEFAULT 0,
    held INTEGER NOT NULL DEFAULT 0,
    lost_claims INTEGER NOT NULL DEFAULT 0
){end};

CREATE UNIQUE INDEX eventctl_event_key ON eventctl_event (`key`);
CREATE INDEX eventctl_event_created ON eventctl_event (created_at);
CREATE UNIQUE INDEX eventctl_delivery_pair ON eventctl_delivery (event_id, handler);
CREATE INDEX eventctl_delivery_due ON eventctl_delivery (due_at){where_due};
CREATE INDEX eventctl_notice_due ON eventctl_notice (due_at);
CREATE INDEX eventctl_attempt_delivery ON eventctl_attempt (delivery_id);
