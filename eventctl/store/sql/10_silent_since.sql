-- When a person muted an incident: it shows whether the clock was ahead then.
ALTER TABLE eventctl_incident ADD COLUMN silent_since BIGINT;
