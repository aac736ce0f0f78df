"""Int8 beside float32: a verified ONNX file, quantised by the tool of a runtime, and scored."""
