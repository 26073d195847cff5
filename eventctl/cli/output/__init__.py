"""The output of commands: tables, formats, progress."""
