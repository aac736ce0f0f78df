"""Export formats, one module for each."""
