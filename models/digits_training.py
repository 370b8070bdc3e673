"""Training a spiking classifier by surrogate gradients (Neftci et al., "Surrogate Gradient Learning in Spiking Neural
Networks", IEEE Signal Processing Magazine 36(6), 2019): back-propagation through time, where the derivative of the
spike is replaced by a smooth one.

The class scores are the network's outputs summed over time: spike counts of a spiking read-out, the summed membrane
potential of a leaky integrator. The loss is the cross entropy of ``gain * mean over time``, plus a penalty that draws
every layer's mean rate into a band (a silent layer learns nothing, a busy one costs energy). Everything is seeded and
runs on one thread: the same settings give the same network.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from neurodeploy.errors import InvalidInputError
from neurodeploy.files.atomic import atomic_path, existing_file

from . import digits

Progress = Callable[[int, int, str], None]
"""Called with ``(epoch, epochs, text)`` after each epoch."""


@dataclass(frozen=True)
class Settings:
    """What a training run depends on.

    Args:
        steps: time steps of a sample.
        encoder: name in `digits.ENCODERS`.
        epochs, batch, learning_rate: of Adam, with a cosine decay to zero.
        gain: logits per unit of the mean output.
        rate_band: mean spikes per neuron and step below and above which a layer is penalised.
        seed: of the order of the samples (the initial weights are `build`'s).
        dt: length of a step in seconds.
    """

    steps: int
    encoder: str
    epochs: int
    batch: int = 32
    learning_rate: float = 2e-3
    gain: float = 20.0
    rate_band: tuple[float, float] = (0.03, 0.15)
    rate_weight: float = 5.0
    seed: int = 0
    dt: float = 1e-3


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained network and how well it does.

    Args:
        module: in evaluation mode.
        accuracy: on the test images, 0 to 1.
        train_accuracy: on the training images.
        seconds: that the training took.
    """

    module: nn.Module
    accuracy: float
    train_accuracy: float
    seconds: float

    def save(self, path: Path | str) -> None:
        """Write the weights as safetensors, the accuracies in its metadata.

        Raises:
            StorageError: the file cannot be written.
        """
        from safetensors.torch import save_file

        numbers = ("accuracy", "train_accuracy", "seconds")
        with atomic_path(path) as temporary:
            save_file(
                {name: tensor.contiguous() for name, tensor in self.module.state_dict().items()},
                temporary,
                metadata={name: repr(getattr(self, name)) for name in numbers},
            )


def load(build: Callable[[], nn.Module], path: Path | str) -> Trained:
    """Read what `Trained.save` wrote.

    Raises:
        MissingFileError: there is no such file.
        InvalidInputError: not a safetensors file, or one of another network.
    """
    from safetensors import SafetensorError, safe_open

    path = existing_file(path, "a .safetensors file")
    module = build()
    try:
        with safe_open(path, framework="pt") as file:
            numbers = {key: float(value) for key, value in (file.metadata() or {}).items()}
            module.load_state_dict({key: file.get_tensor(key) for key in file.keys()})  # noqa: SIM118 (not a dict)
        return Trained(module.eval(), **numbers)
    except (SafetensorError, RuntimeError, ValueError, TypeError) as error:
        raise InvalidInputError(
            f"{path} does not hold this network's weights",
            found=str(error).split("\n")[0],
            hint="train the network again",
        ) from error


def scores(module: nn.Module, inputs: Tensor) -> Tensor:
    """Outputs summed over time: ``[time, batch, *shape] -> [batch, classes]``."""
    return _run(module, inputs)[0]


def accuracy(module: nn.Module, data: digits.Data) -> float:
    """Share of samples whose highest score is at their label (ties go to the lower class)."""
    with torch.no_grad():
        found = scores(module, torch.from_numpy(data.inputs).float()).argmax(dim=1)
    return float((found == torch.from_numpy(data.labels)).double().mean())


def train(build: Callable[[], nn.Module], settings: Settings, progress: Progress | None = None) -> Trained:
    """Train the network that `build` makes on the digits.

    Args:
        build: returns the untrained network; called as ``output, state = module(input, state)`` in every step.
        settings: see `Settings`.
        progress: see `Progress`.
    """
    source = digits.load()
    train_data = _encoded(source.train_images, source.train_labels, settings)
    test_data = encoded_test(settings)
    inputs, labels = torch.from_numpy(train_data.inputs).float(), torch.from_numpy(train_data.labels)
    started = time.perf_counter()
    with one_thread():
        module = build().train()
        order = torch.Generator().manual_seed(settings.seed)
        optimiser = torch.optim.Adam(module.parameters(), lr=settings.learning_rate)
        batches = -(-len(labels) // settings.batch)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, settings.epochs * batches)
        for epoch in range(settings.epochs):
            right = 0
            for chosen in torch.split(torch.randperm(len(labels), generator=order), settings.batch):
                total, rates = _run(module, inputs[:, chosen])
                loss = nn.functional.cross_entropy(settings.gain / settings.steps * total, labels[chosen])
                loss = loss + settings.rate_weight * _rate_penalty(rates, settings.rate_band)
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
                schedule.step()
                right += int((total.argmax(dim=1) == labels[chosen]).sum())
            if progress:
                progress(epoch + 1, settings.epochs, f"training accuracy {right / len(labels):.1%}")
        module.eval()
        seconds = time.perf_counter() - started
        return Trained(module, accuracy(module, test_data), accuracy(module, train_data), seconds)


def encoded_test(settings: Settings, samples: int | None = None) -> digits.Data:
    """The first ``samples`` test images (all of them by default), encoded."""
    source = digits.load()
    return _encoded(source.test_images[:samples], source.test_labels[:samples], settings)


def encoded_training(settings: Settings, samples: int | None = None) -> digits.Data:
    """The first ``samples`` training images, encoded."""
    source = digits.load()
    return _encoded(source.train_images[:samples], source.train_labels[:samples], settings)


def _encoded(images: digits.Array, labels: digits.Array, settings: Settings) -> digits.Data:
    return digits.Data(digits.encode(settings.encoder, images, settings.steps), labels.copy())


def _run(module: nn.Module, inputs: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
    """Outputs summed over time, and each spiking layer's mean rate (differentiable)."""
    rates: dict[str, list[Tensor]] = {}

    def note(name: str) -> Callable[[nn.Module, Any, Any], None]:
        return lambda _module, _args, output: rates.setdefault(name, []).append(output[0].mean())

    hooks = [m.register_forward_hook(note(n)) for n, m in module.named_modules() if type(m).__name__ == "LIFBoxCell"]
    try:
        state: Any = None
        total: Tensor | None = None
        for step in inputs:
            output, state = module(step, state)
            total = output if total is None else total + output
    finally:
        for hook in hooks:
            hook.remove()
    assert total is not None
    return total, {name: torch.stack(values).mean() for name, values in rates.items()}


def _rate_penalty(rates: Mapping[str, Tensor], band: tuple[float, float]) -> Tensor:
    low, high = band
    outside = [torch.relu(low - rate) + torch.relu(rate - high) for rate in rates.values()]
    return torch.stack(outside).sum()


@contextmanager
def one_thread() -> Iterator[None]:
    """Sums in the same order on every machine; the number of threads is restored."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
