"""Frontends, which trace a network as a `Program`."""
