"""Feature extractors: each has `out_channels`, one number for each map that its forward pass returns."""
