"""Text detection."""
