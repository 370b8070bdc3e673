"""Which function of a part serves a neuron model: a table that the part keeps, or what another package brings.

A package of a third party adds a model by an entry point of the group `GROUP`, which loads a `NeuronModel`: the
dataclass and, for each part by name (``"reference"``, ``"hwsim"``), what the part asks for. A part that has nothing for
a model refuses it by name; there is no other way to look a model up, so none is taken for another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, TypeVar, cast

from neurodeploy.errors import InvalidInputError, UnsupportedError

from .network import Population
from .neurons import NEURONS, Neuron

GROUP = "neurodeploy.neurons"
PAGE = "docs/howto-add-a-neuron-model.md"

Entry = TypeVar("Entry")
Model = TypeVar("Model", bound=Neuron)


@dataclass(frozen=True)
class NeuronModel:
    """A neuron model of another package.

    Args:
        neuron: its dataclass.
        parts: what each part needs to compute with it, by the part's name; a string ``"module:attribute"`` is imported
            when the part is used. See docs/howto-add-a-neuron-model.md.
    """

    neuron: type[Neuron]
    parts: Mapping[str, Any] = field(default_factory=dict)


def dispatch(table: Mapping[type[Neuron], Entry], population: Population, who: str) -> Entry:
    """What ``table`` or another package has for the neurons of a population.

    Args:
        table: of the part that asks, by type.
        population: whose neurons are looked up.
        who: name of the part, as in `NeuronModel.parts` and in the message.

    Raises:
        UnsupportedError: the part does not know the model; names population, part and model.
    """
    found = table.get(type(population.neuron))
    if found is not None:
        return found
    for model in models():
        if model.neuron is type(population.neuron) and who in model.parts:
            part = model.parts[who]
            return cast(Entry, _imported(part) if isinstance(part, str) else part)
    raise _unknown(population, who, ", ".join(sorted(kind.__name__ for kind in table)))


def expect(population: Population, kind: type[Model], who: str, hint: str | None = None) -> Model:
    """The neurons of a population for a part that knows one model only.

    Raises:
        UnsupportedError: they are of another; names population, part and model.
    """
    if type(population.neuron) is not kind:
        raise _unknown(population, who, kind.__name__, hint)
    return population.neuron


def _unknown(population: Population, who: str, allowed: str, hint: str | None = None) -> UnsupportedError:
    return UnsupportedError(
        f"{who} does not know the neurons of population {population.name!r}",
        found=type(population.neuron).__name__,
        allowed=allowed,
        hint=hint or f"use a part that knows them, or teach it: {PAGE}",
    )


@cache
def models() -> tuple[NeuronModel, ...]:
    """Models that other packages bring.

    Raises:
        InvalidInputError: an entry point that cannot be loaded, or does not load a `NeuronModel`; names it.
    """
    found: list[NeuronModel] = []
    for point in entry_points(group=GROUP):
        try:
            model = point.load()
        except Exception as error:  # whatever the module of somebody else raises
            raise InvalidInputError(
                f"the entry point {point.name!r} of the group {GROUP} cannot be loaded",
                found=f"{point.value}: {type(error).__name__}: {error}",
                hint="repair or remove the package that brings it",
            ) from error
        if not isinstance(model, NeuronModel):
            raise InvalidInputError(
                f"the entry point {point.name!r} of the group {GROUP} does not load a neuron model",
                found=type(model).__name__,
                allowed="a neurodeploy.network.dispatch.NeuronModel",
            )
        if model.neuron.__name__ in (kind.__name__ for kind in (*NEURONS, *(other.neuron for other in found))):
            raise InvalidInputError(
                f"the entry point {point.name!r} of the group {GROUP} brings a neuron model whose name is taken",
                found=model.neuron.__name__,
                hint="files tell models apart by their names; rename it",
            )
        found.append(model)
    return tuple(found)


def known() -> tuple[type[Neuron], ...]:
    """All models: ours, and those that other packages bring."""
    return (*NEURONS, *(model.neuron for model in models()))


def _imported(name: str) -> Any:
    module, _, attribute = name.partition(":")
    return getattr(import_module(module), attribute)
