"""Display, curves and logs of a training run."""
