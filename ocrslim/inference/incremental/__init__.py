"""Pruned variants of a network, of which only what changes is computed anew."""
