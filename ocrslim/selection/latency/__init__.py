"""Plans for a target latency."""
