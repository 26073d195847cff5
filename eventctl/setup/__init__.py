"""Set up a project, and find what is wrong with it."""
