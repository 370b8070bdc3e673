"""Ordinary networks (torch, ONNX) to spiking ones."""
