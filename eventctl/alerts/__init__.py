"""Notify a person: incidents, and channels."""
