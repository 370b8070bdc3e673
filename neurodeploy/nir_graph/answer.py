"""The answer in a `.nir` file: how what its user's ``forward`` returns comes from spikes and potentials of its nodes.

It stands in our section of the graph's metadata under ``answer``: ``rule`` is the expressions as JSON, ``array_0``,
``array_1`` ... the matrices and weights in them. A population of it is a node, or an input, of the graph.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from neurodeploy.errors import InvalidInputError, NeurodeployError, UnsupportedError, did_you_mean
from neurodeploy.files.hdf5 import numbers, plain
from neurodeploy.network.answer import TYPES, Answer
from neurodeploy.network.arrays import Array, sole
from neurodeploy.program.codec import DAMAGED, decode, encode, name_of

from .metadata import put, section_of
from .nir_file import NirFile
from .shapes import NEURONS, kind, of_kind, shapes, stages

if TYPE_CHECKING:
    import nir

RECORD = "answer"
"""Key of our section."""

LONGEST = 1 << 22
"""Characters of the rule at most."""

_KNOWN = {name_of(known): known for known in TYPES}
_SPIKING = ("Input", "LIF", "IF", "CubaLIF", "Threshold")


def store(graph: nir.NIRGraph, answer: Answer) -> None:
    """Put the answer into the metadata of a graph, as `read` takes it.

    Raises:
        InvalidInputError: it reads what the graph does not have; the message names the node.
    """
    check(graph, answer)
    arrays: list[Array] = []
    rule = json.dumps(encode(answer, arrays, frozenset(TYPES)), allow_nan=False)
    if len(rule) > LONGEST:
        raise UnsupportedError("the answer is too long for a file", found=f"{len(rule):,} characters", allowed=LONGEST)
    put(graph, {RECORD: {"rule": rule} | {f"array_{index}": array[()] for index, array in enumerate(arrays)}})


def read(file: NirFile) -> Answer | None:
    """The answer in a file; None where it holds none.

    Raises:
        InvalidInputError: it is damaged, or reads what the graph does not have; names the file and what is wrong.
    """
    section = section_of(file.graph)
    if RECORD not in section:
        return None
    try:
        answer = _read(section[RECORD])
    except (*DAMAGED, OverflowError, RecursionError) as error:
        told = error if isinstance(error, NeurodeployError) else None
        found = f"{told.what}: {told.found}" if told else str(error).strip().split("\n")[0]
        raise InvalidInputError(
            f"{file.path} holds a damaged answer (answer in its metadata)",
            found=found or type(error).__name__,
            allowed="what neurodeploy export wrote there",
            hint="export the network again, or remove answer from the metadata",
        ) from error
    try:
        check(file.graph, answer)
    except InvalidInputError as error:
        raise error.again(f"{file.path}: {error.what}", hint="export the network again") from error
    return answer


def check(graph: nir.NIRGraph, answer: Answer) -> None:
    """Refuse an answer that reads a node which is not there, has no such series, or has another size.

    Raises:
        InvalidInputError: names the node.
    """
    sizes = shapes(graph)
    given = {one.name for stage in stages(graph) for one in stage.gives if not one.target}
    for series in answer.series:
        if series.port == "value":
            if series.population not in given:
                raise InvalidInputError(
                    f"the answer reads {series.phrase}, which no host stage gives", found=series.population,
                    allowed=sorted(given),
                )  # fmt: skip
            continue
        name, spikes = series.population, series.port == "spikes"
        kinds = _SPIKING if spikes else NEURONS
        there = of_kind(graph, *kinds)
        if name not in there:
            what = kind(graph.nodes[name]) if name in graph.nodes else "no node" + did_you_mean(name, there)
            raise InvalidInputError(
                f"the answer reads {series.phrase}, and the graph has none",
                found=f"{name}: {what}",
                allowed=f"a node of type {', '.join(kinds)}",
            )
        if math.prod(sizes[name]) != math.prod(series.shape):
            raise InvalidInputError(
                f"the answer reads {series.phrase} in another size", found=list(series.shape), allowed=list(sizes[name])
            )


def _kind(name: Any) -> type:
    if name not in _KNOWN:
        raise ValueError(f"the expression {str(name)[:80]!r}, which is not known")
    return _KNOWN[name]


def _read(record: Any) -> Answer:
    """The answer of our section; anything wrong is an exception of `DAMAGED` or what the expressions refuse."""
    if not isinstance(record, Mapping):
        raise ValueError("an answer that is not a group")
    rule = plain(record["rule"])
    if not isinstance(rule, str) or len(rule) > LONGEST:
        raise ValueError(f"a rule that is not text of up to {LONGEST:,} characters")
    arrays: list[Array] = []
    while (key := f"array_{len(arrays)}") in record:
        array = numbers(record[key])
        if array is None:
            raise ValueError(f"{key} that is not numbers")
        arrays.append(sole(np.array(array)))
    answer = decode(json.loads(rule), arrays, _kind)
    if not isinstance(answer, Answer):
        raise ValueError(f"a {type(answer).__name__} in place of an answer")
    return answer
