"""Queries by people and monitors. Nothing here writes."""
