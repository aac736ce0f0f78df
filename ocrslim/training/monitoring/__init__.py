"""What a training shows and records."""
