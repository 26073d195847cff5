"""Maintenance of a store: prune, archive, copy."""
