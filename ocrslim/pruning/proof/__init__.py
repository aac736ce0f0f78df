"""Proof of channel groups: networks run pruned, and compared with themselves."""
