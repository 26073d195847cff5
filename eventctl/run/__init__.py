"""The verbs: emit, sweep, replay, rehearse, and what they share."""
