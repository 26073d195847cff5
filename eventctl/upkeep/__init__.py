"""What keeps a store in shape: prune, archive, copy."""
