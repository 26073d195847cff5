"""Transports: HTTP, SMTP, a program."""
