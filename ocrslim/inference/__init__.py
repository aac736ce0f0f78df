"""Running exported models."""
