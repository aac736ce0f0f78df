"""The choice of points to measure, and estimates of a layer's losses from them."""
