-- How many writes to stderr a sweep dropped.
ALTER TABLE eventctl_sweep ADD COLUMN dropped_writes INTEGER NOT NULL DEFAULT 0;
