-- A key that is too long is held as a whole: a non-strict server would truncate it.
{widen_outbox};
