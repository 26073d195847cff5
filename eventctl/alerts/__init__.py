"""Notify a person: incidents, and the channels that carry them."""
