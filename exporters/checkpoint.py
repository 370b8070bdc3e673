"""Trained parameters as training scripts save them: which of the tensors in a checkpoint are this model's.

A script saves the state dict itself or puts it into a dictionary beside the optimiser's (``{"net": ..., "epoch": 3}``);
DataParallel, ``torch.compile``, Lightning and averaging put a prefix in front of every name. What fits the model in
exactly one way is taken, and said; two that fit (the weights and their average, say) are refused by name.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from neurodeploy.errors import InvalidInputError
from neurodeploy.files.atomic import existing_file
from neurodeploy.models.system import System

DEEPEST = 4
"""How many dictionaries deep a state dict is looked for."""

_COMPILED = "_orig_mod."
"""What ``torch.compile`` puts into the names of a module's parameters, also in the middle."""

_WRAPPERS = {"module": "DataParallel or an average", "_orig_mod": "torch.compile"}
"""Whose prefix it is."""


@dataclass(frozen=True, eq=False)
class _Found:
    """Tensors of a checkpoint with the names that a model would have for them.

    Args:
        key: of the dictionary that holds them, empty for the file itself.
        prefix: that was taken off their names.
        state: name -> tensor.
        left: names in the same dictionary without the prefix.
        computed: how weights were computed that do not stand there themselves.
    """

    key: str
    prefix: str
    state: Mapping[str, Tensor]
    left: tuple[str, ...] = ()
    computed: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """How a user says which one is meant."""
        return self.key if not self.prefix else self.prefix.rstrip(".") if not self.key else f"{self.key}/{self.prefix}"

    def said(self) -> str:
        """Where the weights stood, for people."""
        words = []
        if self.key:
            words.append(f"the weights stand under {self.key!r}")
        if self.prefix:
            by = ", ".join(sorted({_WRAPPERS[part] for part in self.prefix.split(".") if part in _WRAPPERS}))
            words.append(f"the prefix {self.prefix!r} was taken off" + (f" ({by})" if by else ""))
        words += self.computed
        if self.left:
            words.append(f"left out: {_some(list(self.left))}")
        return "; ".join(words)


def load_checkpoint(module: nn.Module, checkpoint: Path | str, tell: Callable[[str], None] | None = None) -> None:
    """Load trained parameters into ``module``, in place.

    Args:
        checkpoint: a ``.safetensors`` file, or anything that ``torch.load(weights_only=True)`` takes; ``file.pt:KEY``
            says which of several state dicts, or which prefix, is meant.
        tell: is given a line where the weights were not simply the file's content.

    Raises:
        MissingFileError: there is no such file.
        InvalidInputError: more than weights, or not this model's; names what was found and how to choose.
    """
    path, chosen = _split(str(checkpoint))
    loaded = _read(path)
    own = module.state_dict()
    dictionaries = list(_dictionaries(loaded))
    if not dictionaries:
        found = type(loaded).__name__
        if isinstance(loaded, Mapping):
            found = f"a dict with {_some([str(key) for key in loaded])}" if loaded else "an empty dict"
        raise InvalidInputError(f"{path} is not a state dict", found=found, hint="save model.state_dict()")
    forms = [
        _without_states(_effective(form, own), own) for key, state in dictionaries for form in _forms(key, state, own)
    ]
    if chosen:
        named = [form for form in forms if chosen in (form.key, form.prefix, form.prefix.rstrip("."), form.name)]
        if not named:
            raise InvalidInputError(
                f"{path} has no weights called {chosen!r}",
                found=_some(sorted({form.name for form in forms} - {""})) or "one state dict, without a name",
            )
        forms = named
    fitting = [form for form in forms if _misfit(form.state, own) is None]
    if not fitting:
        raise _not_this_models(path, max(forms, key=lambda form: len(form.state.keys() & own.keys())), own)
    best = fitting[0]
    others = [form for form in fitting[1:] if not _same(form.state, best.state)]
    if others:
        names = [form.name or "the file itself" for form in (best, *others)]
        raise InvalidInputError(
            f"{path} holds several weights that fit this model",
            found=", ".join(names),
            allowed="one of them",
            hint=f"say which, for example --checkpoint {path}:{next(name for name in reversed(names) if name)}",
        )
    module.load_state_dict(dict(best.state))
    if tell and best.said():
        tell(f"{path}: {best.said()}")


def fitting(path: Path, system: System) -> tuple[Any, nn.Module]:
    """The network of a published system whose authors' code wrote this checkpoint: its sizes, and it in evaluation.

    Raises:
        MissingFileError: there is no such file.
        InvalidInputError: more than tensors, or none that are a network of this system.
    """
    assert system.renamed is not None and system.shape_of is not None
    wrong = []
    for _, state in _dictionaries(_read(path)):
        plain = {_unwrapped(name): tensor for name, tensor in state.items()}
        try:
            ours = system.renamed(plain)
            shape = system.shape_of(ours, plain)
            module = system.build(shape)
        except (KeyError, IndexError, ValueError, RuntimeError, InvalidInputError) as error:
            missing = f"no {error.args[0]}" if isinstance(error, KeyError) else said(error)
            wrong.append((0, missing))
            continue
        own = module.state_dict()
        misfit = _misfit(ours, own)
        if misfit is None:
            module.load_state_dict(ours)
            return shape, module.eval()
        wrong.append((len(ours.keys() & own.keys()), misfit))
    raise InvalidInputError(
        f"{path} is no checkpoint of {system.title}",
        found=max(wrong)[1] if wrong else "no tensors by name",
        allowed=f"the state dict of its authors' code ({system.source})",
        hint="neurodeploy models lists the systems",
    )


def _unwrapped(name: str) -> str:
    """Without what DataParallel and ``torch.compile`` put in front."""
    for prefix in _WRAPPERS:
        name = name.removeprefix(f"{prefix}.")
    return name


def _split(given: str) -> tuple[Path, str]:
    """The file, and what stands behind a colon where that is no part of its name."""
    path, colon, chosen = given.rpartition(":")
    return (Path(path), chosen) if colon and not Path(given).exists() and Path(path).is_file() else (Path(given), "")


def _read(path: Path) -> Any:
    existing_file(path, "a checkpoint (.pt, .pth or .safetensors)")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InvalidInputError(
            f"{path} holds more than weights and is refused, since unpickling it could run any code",
            found=str(error).strip().split("\n")[0][:200],
            allowed="tensors only",
            hint="save torch.save(model.state_dict(), path), or safetensors",
        ) from error
    except ModuleNotFoundError:  # safetensors: the command line, or nd.load_module, says how to install it
        raise
    except Exception as error:
        raise InvalidInputError(
            f"{path} is not a checkpoint", found=said(error), allowed="a file of torch.save or safetensors"
        ) from error


def _dictionaries(loaded: Any, key: str = "", depth: int = 0) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Every dictionary in the checkpoint that holds tensors by name, with its key; the outermost first."""
    if not isinstance(loaded, Mapping) or depth > DEEPEST:
        return
    tensors = {name: value for name, value in loaded.items() if isinstance(name, str) and isinstance(value, Tensor)}
    for name, value in tensors.items():
        if value.layout != torch.strided or value.is_quantized or value.is_meta:
            kind = "meta" if value.is_meta else "quantised" if value.is_quantized else str(value.layout)
            raise InvalidInputError(
                f"the tensor {name!r} of the checkpoint holds no plain numbers", found=f"a {kind} tensor",
                allowed="dense tensors", hint="save tensor.dequantize() or tensor.to_dense()",
            )  # fmt: skip
    if tensors:
        yield key, tensors
    for name, value in loaded.items():
        yield from _dictionaries(value, f"{key}.{name}" if key else str(name), depth + 1)


def _forms(key: str, state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> Iterator[_Found]:
    """The tensors as they are, and with each prefix taken off that would leave names of the model."""
    yield _Found(key, "", state)
    if not any(_COMPILED in name for name in own) and any(_COMPILED in name for name in state):
        plain = {name.replace(_COMPILED, ""): value for name, value in state.items()}
        outer = all(name.startswith(_COMPILED) for name in state)
        yield _Found(key, _COMPILED, plain)
        if not outer or any(name.startswith("module.") for name in plain):
            yield from (_Found(key, f"{_COMPILED}{f.prefix}", f.state, f.left) for f in _stripped(key, plain, own))
            return
    yield from _stripped(key, state, own)


def _effective(form: _Found, own: Mapping[str, Tensor]) -> _Found:
    """The same with the weights that the model has and the checkpoint holds as what they are computed from.

    `torch.nn.utils.prune` keeps ``weight_orig`` and ``weight_mask``; weight normalisation ``weight_g`` and
    ``weight_v``, or the two originals of a parametrization, with ``weight = g v / |v|`` over the dimensions in which g
    has length 1 (Salimans and Kingma, "Weight Normalization", NeurIPS 2016).
    """
    state, said = dict(form.state), dict[str, None]()
    for name in own:
        if name in state:
            continue
        outer, _, last = name.rpartition(".")
        inner = f"{outer}." if outer else ""
        masked = (f"{name}_orig", f"{name}_mask")
        normed = ((f"{name}_g", f"{name}_v"), tuple(f"{inner}parametrizations.{last}.original{i}" for i in (0, 1)))
        if masked[0] in state and masked[1] in state and state[masked[0]].shape == state[masked[1]].shape:
            state[name] = state.pop(masked[0]) * state.pop(masked[1])
            said["pruned weights were multiplied by their masks"] = None
        for g, v in normed:
            there = g in state and v in state and state[g].dim() == state[v].dim()
            if there and all(a in (1, b) for a, b in zip(state[g].shape, state[v].shape, strict=True)):
                gain, direction = state.pop(g), state.pop(v)
                over = [d for d in range(gain.dim()) if gain.shape[d] == 1]
                size = direction.square().sum(over, keepdim=True).sqrt() if over else direction.abs()
                state[name] = direction * (gain / size)
                said["normalised weights were computed from length and direction"] = None
    return replace(form, state=state, computed=tuple(said)) if said else form


def _without_states(form: _Found, own: Mapping[str, Tensor]) -> _Found:
    """The same without the states of a run (sinabs keeps them in buffers, empty before the first call)."""
    states = [name for name in form.state if name in own and not own[name].numel() and form.state[name].numel()]
    kept = {name: own[name] if name in states else value for name, value in form.state.items()}
    return replace(form, state=kept, left=(*form.left, *states)) if states else form


def _stripped(key: str, state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> Iterator[_Found]:
    prefixes = sorted({name[: -len(mine)] for mine in own for name in state if name.endswith(f".{mine}")})
    for prefix in prefixes:
        inside = {name[len(prefix) :]: value for name, value in state.items() if name.startswith(prefix)}
        left = tuple(sorted(name for name in state if not name.startswith(prefix)))
        yield _Found(key, prefix, inside, left)


def _misfit(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> str | None:
    """Why these tensors are not the model's, or None."""
    shapes = [
        f"{name}: {list(state[name].shape)} instead of {list(own[name].shape)}"
        for name in sorted(own.keys() & state.keys())
        if state[name].shape != own[name].shape
    ]
    missing, surplus = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    parts = (("missing", missing), ("not in the model", surplus), ("other shape", shapes))
    return "; ".join(f"{label}: {_some(items)}" for label, items in parts if items) or None


def _not_this_models(path: Path, nearest: _Found, own: Mapping[str, Tensor]) -> InvalidInputError:
    where = f" under {nearest.key!r}" if nearest.key else ""
    where += f" without the prefix {nearest.prefix!r}" if nearest.prefix else ""
    return InvalidInputError(
        f"the weights in {path}{where} are not this model's",
        found=_misfit(nearest.state, own),
        hint="give the checkpoint of this model, or the model of this checkpoint",
    )


def _same(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


def _some(items: list[str]) -> str:
    return ", ".join(items[:3]) + (f" and {len(items) - 3} more" if len(items) > 3 else "")


def said(error: BaseException) -> str:
    """An exception in a line."""
    return f"{type(error).__name__}: {str(error).strip().split(chr(10))[0]}"
