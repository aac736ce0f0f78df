"""Files of weights, read without running anything in them: one module for each format."""
