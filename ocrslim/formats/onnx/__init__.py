"""ONNX files: networks read and checked, the sizes of their values, and pruned networks written back."""
