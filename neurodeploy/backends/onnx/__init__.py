"""The one-step ONNX graph, and running it."""
