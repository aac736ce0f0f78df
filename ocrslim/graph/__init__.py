"""Which channels can only be removed together, and why some cannot be removed at all."""
