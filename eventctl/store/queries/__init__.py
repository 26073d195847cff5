"""What people and monitors ask of the store. Nothing here writes."""
