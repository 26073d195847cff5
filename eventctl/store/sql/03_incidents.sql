CREATE TABLE IF NOT EXISTS eventctl_incident (
    id {id},
    `key` VARCHAR(16) NOT NULL,
    kind VARCHAR(16) NOT NULL,
    handler TEXT NOT NULL,
    fingerprint VARCHAR(16) NOT NULL,
    open_as VARCHAR(16),
    error TEXT NOT NULL,
    traceback {text} NOT NULL,
    output {text} NOT NULL,
    names TEXT NOT NULL,
    event_ids TEXT NOT NULL,
    count INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    waits_for BIGINT NOT NULL DEFAULT 0,
    reported BIGINT NOT NULL DEFAULT 0,
    opened_at BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    ended_at BIGINT,
    silent_until BIGINT
){end};

CREATE TABLE IF NOT EXISTS eventctl_member (
    id {id},
    incident_id BIGINT NOT NULL,
    delivery_id BIGINT,
    event_id BIGINT,
    place VARCHAR(16)
){end};

CREATE TABLE IF NOT EXISTS eventctl_telling (
    id {id},
    incident_id BIGINT NOT NULL,
    channel {name} NOT NULL,
    told VARCHAR(8),
    told_at BIGINT,
    told_count INTEGER NOT NULL DEFAULT 0,
    times INTEGER NOT NULL DEFAULT 0,
    due_at BIGINT,
    lease VARCHAR(16),
    leased_until BIGINT,
    error TEXT
){end};

ALTER TABLE eventctl_notice ADD COLUMN place VARCHAR(16);
CREATE UNIQUE INDEX eventctl_incident_key ON eventctl_incident (`key`);
CREATE UNIQUE INDEX eventctl_incident_open ON eventctl_incident (open_as);
CREATE INDEX eventctl_incident_ended ON eventctl_incident (ended_at);
CREATE INDEX eventctl_incident_alike ON eventctl_incident (fingerprint);
CREATE INDEX eventctl_member_incident ON eventctl_member (incident_id);
CREATE INDEX eventctl_member_delivery ON eventctl_member (delivery_id);
CREATE INDEX eventctl_member_event ON eventctl_member (event_id);
CREATE UNIQUE INDEX eventctl_telling_pair ON eventctl_telling (incident_id, channel);
CREATE INDEX eventctl_telling_due ON eventctl_telling (channel, due_at);
