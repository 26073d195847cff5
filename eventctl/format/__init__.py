"""Pure helpers: text, times, files, redaction."""
