"""Reading an ordinary network (an ANN) from a torch module, by way of ONNX where that holds it."""

from __future__ import annotations

import copy
import io
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from importlib.util import find_spec
from typing import Any, cast

import torch
from torch import nn

from neurodeploy.errors import InvalidInputError, NeurodeployError, UnsupportedError
from neurodeploy.network.arrays import Array

from . import onnx_file, onnx_import
from .ann_graph import Ann
from .onnx_values import first_line
from .torch_pieces import differs, from_pieces

ROUNDING = 1e-4
"""Largest difference between the module and what was read, relative to the largest result: constants in 32 bits."""


def from_torch(module: nn.Module, sample_shape: tuple[int, ...], samples: Array | None = None) -> Ann:
    """Read an ANN from a torch module called with ``[batch, *sample_shape]``; it is not changed.

    What was read is compared with the module, on random samples and on ``samples`` of its own.

    Goes by ONNX, and without it where torch cannot say the module in ONNX, or says another (`torch_pieces`).

    Raises:
        InvalidInputError: the module does not take such a sample.
        UnsupportedError: torch cannot export it to ONNX, or an operator that cannot be converted.
    """
    body = copy.deepcopy(module).cpu().eval()
    sample = torch.zeros(1, *sample_shape)
    for parameter in body.parameters():
        sample = sample.to(parameter.dtype)
        break
    try:
        with torch.no_grad():
            body(sample)
    except Exception as error:  # user code: anything may come
        raise InvalidInputError(
            "the module does not take such a sample",
            found=f"an input of shape {list(sample.shape)} gave {type(error).__name__}: {first_line(error)}",
            hint="check the sample's shape",
        ) from error
    try:
        made = _by_onnx(body, sample, sample_shape)
        if differs(made, body, samples) <= ROUNDING:
            return made
        first: NeurodeployError = UnsupportedError("what torch exports to ONNX is not what the module computes")
    except (UnsupportedError, InvalidInputError) as error:
        first = error
    try:
        made = from_pieces(body, sample_shape)
    except NeurodeployError:
        raise first from None
    if differs(made, body, samples) > ROUNDING:
        raise first
    return made


@contextmanager
def _silent() -> Iterator[None]:
    """Without what torch prints to standard output when a graph fails, past Python too."""
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


def _by_onnx(body: nn.Module, sample: torch.Tensor, sample_shape: tuple[int, ...]) -> Ann:
    """The ANN that torch's exporter to ONNX makes of a module."""
    buffer = io.BytesIO()
    # Torch's new exporter needs the package onnxscript; the old one, which does not, is deprecated but equal here.
    new = find_spec("onnxscript") is not None
    try:
        with warnings.catch_warnings(), _silent():
            warnings.simplefilter("ignore")
            if new:
                program: Any = torch.onnx.export(body, (sample,), dynamo=True, verbose=False)
                buffer.write(program.model_proto.SerializeToString())
            else:
                torch.onnx.export(body, (sample,), cast(Any, buffer), dynamo=False, opset_version=17)
    except Exception as error:
        raise UnsupportedError(
            "torch cannot export the module to ONNX", found=f"{type(error).__name__}: {first_line(error)}"
        ) from error
    ann = onnx_import.from_model(onnx_file.parse(buffer.getvalue(), "the exported module"), sample_shape)
    return replace(ann, origin="torch ANN")
