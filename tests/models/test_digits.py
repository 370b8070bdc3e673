"""Encoders, the split, and that both networks learn the digits."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from neurodeploy.errors import InvalidInputError, MissingFileError
from neurodeploy.exporters.trace import run_torch
from neurodeploy.models import digits, registry
from neurodeploy.models import digits_training as training


def one_pixel(value: int) -> np.ndarray:
    images = np.zeros((1, 8, 8), np.uint8)
    images[0, 2, 3] = value
    return images


def test_rate_by_hand():
    # x = 6, T = 8: floor(t 6 / 16) for t = 0..8 is 0 0 0 1 1 1 2 2 3, so it spikes where that grows.
    spikes = digits.rate(one_pixel(6), 8)
    assert spikes.shape == (8, 1, 1, 8, 8)
    assert spikes.dtype == np.uint8
    assert spikes[:, 0, 0, 2, 3].tolist() == [0, 0, 1, 0, 0, 1, 0, 1]
    assert spikes.sum() == 3


@given(st.integers(0, 16), st.integers(1, 50))
def test_rate_is_the_phase_accumulator(x, steps):
    expected = [math.floor((t + 1) * x / 16) > math.floor(t * x / 16) for t in range(steps)]
    assert digits.rate(one_pixel(x), steps)[:, 0, 0, 2, 3].tolist() == expected
    assert sum(expected) == steps * x // 16


@given(st.integers(1, 16), st.integers(1, 50))
def test_latency_is_one_spike_and_brighter_is_earlier(x, steps):
    column = digits.latency(one_pixel(x), steps)[:, 0, 0, 2, 3]
    assert column.sum() == 1
    assert column.argmax() == math.floor((16 - x) * steps / 16)
    if x < 16:
        assert digits.latency(one_pixel(x + 1), steps)[:, 0, 0, 2, 3].argmax() <= column.argmax()


def test_latency_of_black_is_silence():
    assert digits.latency(one_pixel(0), 16).sum() == 0


@pytest.mark.parametrize(
    ("images", "steps", "message"),
    [
        (np.full((1, 8, 8), 17), 4, "values that are not integers from 0 to 16"),
        (np.full((1, 8, 8), 0.5), 4, "values that are not integers from 0 to 16"),
        (np.zeros((8, 8), int), 4, "wrong shape"),
        (np.zeros((1, 8, 8), int), 0, "at least one step"),
    ],
)
@pytest.mark.parametrize("name", ["rate", "latency"])
def test_encoders_refuse(name, images, steps, message):
    with pytest.raises(InvalidInputError, match=message):
        digits.encode(name, images, steps)


def test_unknown_names():
    with pytest.raises(InvalidInputError, match="unknown encoder"):
        digits.encode("morse", one_pixel(1), 4)
    with pytest.raises(InvalidInputError, match="digits-mlp, digits-conv"):
        registry.load("nothing")


def test_split_is_stratified_and_disjoint():
    data = digits.load()
    assert data.train_images.shape == (1347, 8, 8)
    assert data.test_images.shape == (450, 8, 8)
    assert data.train_images.max() == 16
    # All 1797 images of the data set are different, so equal bytes would be the same image in both parts.
    train = {image.tobytes() for image in data.train_images}
    test = {image.tobytes() for image in data.test_images}
    assert not train & test
    assert len(train | test) == 1797
    # 174 to 183 images of each class; a quarter of that is 43 to 46.
    assert set(np.bincount(data.test_labels)) <= {43, 44, 45, 46}


@pytest.mark.parametrize("name", list(registry.MODELS))
def test_build_is_repeatable_and_leaves_torch_alone(name):
    model = registry.load(name)
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first = model.build().state_dict()
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(value, first[key]) for key, value in model.build().state_dict().items())
    assert model.name == name


def test_training_is_repeatable_and_reports():
    model = registry.load("digits-mlp")
    settings = dataclasses.replace(model.settings, epochs=1, steps=4)
    told = []
    threads = torch.get_num_threads()
    a = training.train(model.build, settings, lambda *now: told.append(now))
    b = training.train(model.build, settings)
    assert torch.get_num_threads() == threads
    assert all(torch.equal(x, y) for x, y in zip(a.module.parameters(), b.module.parameters(), strict=True))
    assert a.accuracy == b.accuracy
    assert [now[:2] for now in told] == [(1, 1)]
    assert "training accuracy" in told[0][2]


def test_damaged_weights(tmp_path):
    model = registry.load("digits-mlp")
    with pytest.raises(MissingFileError, match="does not exist"):
        model.load(tmp_path / "none.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(InvalidInputError, match="does not hold this network's weights"):
        model.load(tmp_path / "bad.safetensors")


@pytest.mark.parametrize("name", list(registry.MODELS))
def test_reaches_its_target_and_every_layer_spikes(name, trained):
    model = registry.load(name)
    result = trained(name)
    data = model.data()
    assert data.inputs.shape == (model.steps, 450, 1, 8, 8)
    assert result.accuracy >= model.target
    assert training.accuracy(result.module, data) == result.accuracy
    trace = run_torch(result.module, data.inputs[:, :100])
    rates = {layer: spikes.mean() for layer, spikes in trace.outputs.items() if layer != "readout"}
    assert len(rates) == 2
    assert all(0.02 < rate < 0.2 for rate in rates.values()), rates
    assert all(m.bias.detach().abs().max() > 0.01 for m in result.module.modules() if hasattr(m, "bias"))
    # Survives weights of 8 bits (even values of -254 to 254) with less than a point lost.
    rounded = model.build()
    rounded.load_state_dict(result.module.state_dict())
    with torch.no_grad():
        for layer in rounded.modules():
            if hasattr(layer, "weight"):
                unit = layer.weight.abs().max() / 127
                layer.weight.copy_((layer.weight / unit).round() * unit)
    assert training.accuracy(rounded, data) > result.accuracy - 0.01
