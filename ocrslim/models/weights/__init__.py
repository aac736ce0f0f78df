"""Weights of a network: read, matched with its keys, and saved."""
