"""ONNX files: `spec` is what a user writes, `session` runs the graph."""
