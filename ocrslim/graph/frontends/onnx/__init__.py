"""ONNX operators in Paddle's words."""
