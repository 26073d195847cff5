-- Events of one name, newest first.
CREATE INDEX eventctl_event_name ON eventctl_event (name, created_at);
