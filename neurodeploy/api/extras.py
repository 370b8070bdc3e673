"""Optional packages, and how to install them."""

from __future__ import annotations

EXTRAS = {
    "torch": "torch",
    "safetensors": "torch",
    "norse": "norse",
    "snntorch": "snntorch",
    "spikingjelly": "spikingjelly",
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "sklearn": "demo",
    "dask": "dask",
}
"""Package that a command may lack -> the extra that brings it."""


def how_to_install(package: str) -> str | None:
    """The command that installs an optional package; None for one that we do not know."""
    if package == "sinabs":  # pins nir to 1.0.4 and asks for a chip's driver; it runs without both
        return "pip install --no-deps sinabs pbr -c constraints.txt"
    return f"pip install 'neurodeploy[{EXTRAS[package]}]' -c constraints.txt" if package in EXTRAS else None
