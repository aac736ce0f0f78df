"""PaddleSlim's pruner interface on ocrslim's channel groups."""
