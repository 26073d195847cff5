"""Every way by which an event comes in."""
