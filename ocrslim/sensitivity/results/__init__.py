"""What was measured, on the disk."""
