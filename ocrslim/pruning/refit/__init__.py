"""Layer-wise refit by least squares, and the criterion `reconstruction`."""
