"""What one host keeps next to the store: locks, journals, names."""
