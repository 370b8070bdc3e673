"""Losses of networks that give scores ``[batch, classes]``: ``(module, inputs, labels) -> (loss, scores)``."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def cross_entropy(module: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The cross entropy of the scores."""
    scores: Tensor = module(x)
    return F.cross_entropy(scores, y), scores


def squared_error(module: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The mean square of scores less 1 for the class and 0 for the others."""
    scores: Tensor = module(x)
    return F.mse_loss(scores, F.one_hot(y, scores.shape[1]).to(scores.dtype)), scores


def every_head(module: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Cross entropies CE_i of the N heads that ``module.scores`` gives: ``sum_i (i / N) CE_i + CE_N``."""
    scores: Tensor = module.scores(x)  # type: ignore[operator]
    each = torch.stack([F.cross_entropy(head, y) for head in scores])
    weights = torch.arange(1, len(each) + 1, device=each.device) / len(each)
    return (weights * each).sum() + each[-1], scores[-1]


LOSSES: Mapping[str, Callable[[nn.Module, Tensor, Tensor], tuple[Tensor, Tensor]]] = {
    "cross-entropy": cross_entropy, "squared-error": squared_error, "every-head": every_head,
}  # fmt: skip
"""By the name that a recipe gives."""
