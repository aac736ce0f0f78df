"""Text detection: differentiable binarisation."""
