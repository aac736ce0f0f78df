"""Surgery: a network, and an optimizer of it, cut by a plan and restored."""
