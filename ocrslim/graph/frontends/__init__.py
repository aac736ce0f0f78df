"""From a network to a `Program`."""
