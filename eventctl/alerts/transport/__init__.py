"""How a message travels: HTTP, SMTP, a program."""
