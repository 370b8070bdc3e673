"""Compiling kernels."""
