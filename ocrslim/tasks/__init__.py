"""What a model is for: labels, outputs, metric, loss."""
