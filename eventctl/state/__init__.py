"""What one host keeps beside the store: locks, journals, names."""
