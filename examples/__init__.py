"""Handlers to start from; the events.toml beside this folder names them."""
