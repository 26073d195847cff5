"""What commands print: tables, formats, progress."""
