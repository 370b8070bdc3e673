"""A torchvision whose compiled operators do not load beside this torch: it is imported all the same, without them.

torchvision describes its operators ``nms`` and ``qnms`` to torch while it is imported, and fails where its library did
not load (``operator torchvision::nms does not exist``: built for another torch). Model zoos import it for nothing but
a download function. Here the two get a schema and no kernel, so that the import goes on; calling one is torch's own
error, that it has no kernel.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

import torch

_OPERATORS = ("nms", "qnms")

_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


class _Finder(MetaPathFinder):
    """Finds nothing; defines what is missing when torchvision is about to describe it."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name == "torchvision._meta_registrations":  # imported behind torchvision.extension, which loads the library
            for operator in _OPERATORS:
                if not hasattr(torch.ops.torchvision, operator):
                    torch.library.define(f"torchvision::{operator}", _SCHEMA)
        return None


@contextmanager
def torchvision_loads() -> Iterator[None]:
    """While it lasts, importing torchvision does not fail for its compiled operators; where they load, nothing is done.

    torchvision is imported once in a process and stays as it is then; nothing else is changed.
    """
    finder = _Finder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
