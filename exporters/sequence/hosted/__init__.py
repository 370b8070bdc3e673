"""What of a recorded network no chip computes: cut out as stages of the host, each an ONNX graph."""
