"""What to remove, and removing it."""
