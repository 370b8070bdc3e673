"""Opening an `.onnx` file that may come from a stranger: no other file than its own is read, nothing is believed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import GraphProto, ModelProto, TensorProto, helper

from neurodeploy.errors import InvalidInputError, MissingFileError, UnsupportedError
from neurodeploy.files.atomic import existing_file, storage_errors

LARGEST_FILE = 2**31 - 1
"""Bytes; protobuf can hold no more."""

MOST_NODES = 100_000
"""Nodes of a graph after its functions are written out."""


def read(path: Path | str) -> ModelProto:
    """Read a model with all its data; its functions are written out as nodes.

    Raises:
        MissingFileError: there is no such file, or one that holds its data is missing.
        InvalidInputError: not ONNX, damaged, or data outside the file's folder.
    """
    path = existing_file(path, "an .onnx file")
    size = path.stat().st_size
    if size > LARGEST_FILE:
        raise InvalidInputError(f"{path} is too large", found=f"{size:,} bytes", allowed=f"{LARGEST_FILE:,} bytes")
    with storage_errors("read", path):
        data = path.read_bytes()
    return parse(data, str(path), path.parent)


def parse(data: bytes, name: str, folder: Path | None = None) -> ModelProto:
    """Read a model from bytes; data of its own files is looked for in ``folder``. Errors as in `read`."""
    model = ModelProto()
    try:
        model.ParseFromString(data)
    except (DecodeError, ValueError, RuntimeError) as error:
        raise _not_onnx(name, str(error).split("\n")[0]) from error
    if not model.HasField("graph") or not model.graph.node:
        raise _not_onnx(name, f"{len(data)} bytes without a graph")
    for tensor in _tensors(model.graph):
        _load_external(tensor, name, folder)
        _check_size(tensor, name)
    try:
        onnx.checker.check_model(model)
    except Exception as error:  # ValidationError, or whatever the bindings make of a bad string
        raise InvalidInputError(
            f"{name} is damaged or not valid ONNX",
            found=str(error).strip().split("\n")[0],
            hint="export the network again",
        ) from error
    return _inlined(model, name) if model.functions else model


def _not_onnx(name: str, found: str) -> InvalidInputError:
    return InvalidInputError(
        f"{name} is not an ONNX file", found=found, allowed="a model as torch.onnx.export writes it",
        hint="check that this is the file you meant, or export the network again",
    )  # fmt: skip


def _tensors(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _tensors(inner)


def _load_external(tensor: TensorProto, name: str, folder: Path | None) -> None:
    if tensor.data_location != TensorProto.EXTERNAL:
        return
    said = {entry.key: entry.value for entry in tensor.external_data}
    where = f"{name}: the data of {tensor.name!r}"
    location = said.get("location", "")
    if folder is None or not location or "\0" in location:
        raise InvalidInputError(f"{where} lies in another file", found=location, hint="put all data into one file")
    root = folder.resolve()
    try:
        target = (root / location).resolve()
        inside = target.is_relative_to(root)
        offset, length = int(said.get("offset", 0)), int(said.get("length", -1))
    except (ValueError, OSError, RuntimeError) as error:
        raise InvalidInputError(f"{where} has an unreadable place", found=said) from error
    if Path(location).is_absolute() or not inside:
        raise InvalidInputError(
            f"{where} is outside the model's folder",
            found=location,
            allowed=f"a file in {folder}",
            hint="keep the model and its .data file in one folder, and export again",
        )
    if not target.is_file():
        raise MissingFileError(f"{where} is not there", found=target, hint="copy it beside the .onnx file")
    existing_file(target, f"the data of {where}")
    available = target.stat().st_size - offset
    expected = _bytes(tensor)
    length = available if length < 0 else length
    if offset < 0 or length > available or (expected is not None and length != expected):
        raise InvalidInputError(
            f"{where} is cut off or of another size",
            found=f"{length:,} bytes from {offset:,} in a file of {target.stat().st_size:,}",
            allowed=f"{expected:,} bytes" if expected is not None else None,
            hint="export the network again",
        )
    with storage_errors("read", target), target.open("rb") as handle:
        handle.seek(offset)
        tensor.raw_data = handle.read(length)
    del tensor.external_data[:]
    tensor.data_location = TensorProto.DEFAULT


def _bytes(tensor: TensorProto) -> int | None:
    """Size of the raw data that the tensor's shape asks for; None for packed and unknown types."""
    count = math.prod(tensor.dims)
    try:
        kind = helper.tensor_dtype_to_np_dtype(tensor.data_type)
    except (KeyError, ValueError, TypeError):
        return None
    return None if tensor.data_type in _PACKED or kind.kind == "O" else count * kind.itemsize


_PACKED = {
    getattr(TensorProto, name)
    for name in ("UINT4", "INT4", "FLOAT4E2M1", "UINT2", "INT2", "STRING")
    if hasattr(TensorProto, name)
}


def _check_size(tensor: TensorProto, name: str) -> None:
    expected = _bytes(tensor)
    wrong = any(n < 0 for n in tensor.dims)
    if tensor.HasField("raw_data"):
        found = len(tensor.raw_data)
        wrong = wrong or (expected is not None and found != expected)
    else:
        fields = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data")
        found = sum(len(getattr(tensor, field)) for field in fields)
        # Complex numbers take two entries, packed types less than one.
        wrong = wrong or (expected is not None and found not in (math.prod(tensor.dims), 2 * math.prod(tensor.dims)))
    if wrong:
        raise InvalidInputError(
            f"{name}: tensor {tensor.name!r} does not hold what its shape says",
            found=f"{found:,} {'bytes' if tensor.HasField('raw_data') else 'values'} for the shape {list(tensor.dims)}",
            hint="the file is damaged: export the network again",
        )


def _inlined(model: ModelProto, name: str) -> ModelProto:
    """The model without local functions; refused if they call themselves or become too large."""
    bodies = {(f.domain, f.name): f for f in model.functions}
    sizes: dict[tuple[str, str], int] = {}

    def size(key: tuple[str, str], above: tuple[tuple[str, str], ...]) -> int:
        if key in above or len(above) > 100:
            raise InvalidInputError(f"{name}: function {key[1]!r} calls itself", hint="export the network again")
        if key not in sizes:
            calls = ((node.domain, node.op_type) for node in bodies[key].node)
            sizes[key] = sum(size(call, (*above, key)) if call in bodies else 1 for call in calls)
        return sizes[key]

    calls = [(node.domain, node.op_type) for node in model.graph.node]
    total = sum(size(call, ()) if call in bodies else 1 for call in calls)
    if total > MOST_NODES:
        raise UnsupportedError(f"{name} is too large", found=f"{total:,} nodes", allowed=f"{MOST_NODES:,}")
    try:
        from onnx import inliner

        return inliner.inline_local_functions(model)
    except Exception as error:
        raise InvalidInputError(
            f"{name}: its functions cannot be written out", found=str(error).split("\n")[0]
        ) from error
