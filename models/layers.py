"""Small helpers for building models: named layers, and initial weights that suit membranes."""

from __future__ import annotations

from typing import TypeVar

import torch
from norse.torch import SequentialState
from torch import nn

Layer = TypeVar("Layer", nn.Linear, nn.Conv2d)


def scaled(layer: Layer, factor: float) -> Layer:
    """Multiply a layer's initial weights and biases by ``factor`` in place and return it.

    Torch's own are made for currents of order one; a membrane takes in only ``dt / tau`` of its current in a step.
    """
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.mul_(factor)
    return layer


def named(**layers: nn.Module) -> nn.Module:
    """Norse's `SequentialState` whose layers have names instead of numbers; reports and NIR nodes show them."""
    network = SequentialState(*layers.values())
    for number, (name, layer) in enumerate(layers.items()):
        delattr(network, str(number))
        network.add_module(name, layer)
    return network  # type: ignore[no-any-return]
