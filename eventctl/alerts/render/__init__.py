"""The content of messages, and their form in each channel."""
