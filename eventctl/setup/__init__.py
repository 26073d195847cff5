"""The first install, and what is wrong with it."""
