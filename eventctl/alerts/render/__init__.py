"""What a message says, and how it looks in each form."""
