"""What turns the fused features into the network's output."""
