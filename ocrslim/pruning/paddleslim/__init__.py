"""PaddleSlim's pruner interface on our channel groups."""
