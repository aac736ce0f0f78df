"""Which points are measured, and what they say of a layer."""
