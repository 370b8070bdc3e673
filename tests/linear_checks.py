"""What becomes of a random linear map between neurons: exported and proven, converted, or refused."""

from __future__ import annotations

import copy
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from neurodeploy import conversion
from neurodeploy.backends.reference.run import run_network
from neurodeploy.errors import InvalidInputError, NeurodeployError, UnsupportedError, VerificationError
from neurodeploy.exporters.ann import torch_ann
from neurodeploy.exporters.torch_step.wide import in_float64
from neurodeploy.lowering.lower import lower
from neurodeploy.nir_graph import nir_file
from neurodeploy.nir_graph.conventions import resolve
from neurodeploy.program.recording import Record, scores
from neurodeploy.verify.export_proof import export_proven

from .linear_maps import Case, network, ordinary

STEPS, SAMPLES = 6, 2


def check_export(case: Case, seed: int) -> str:
    """``equal``, or how it was refused; an AssertionError where the file computes something else."""
    module, axis = network(case)
    rng = np.random.default_rng(seed)
    sample = (rng.random((STEPS, SAMPLES, *case.shape)) < 0.5).astype(np.uint8)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.nir"
        try:
            export_proven(module, sample, None, path, time_axis=axis)
        except VerificationError as error:
            return f"unproven: {error.what}"
        except (UnsupportedError, InvalidInputError) as error:
            return f"refused: {error.what}"
        file = nir_file.read(path)
        net = lower(file, resolve(file))
    other = (rng.random((STEPS + 2, SAMPLES + 1, *case.shape)) < 0.5).astype(np.float64)
    wide = copy.deepcopy(module).double()
    with torch.no_grad(), in_float64():
        x = torch.from_numpy(other)
        if axis == "step":
            expected = torch.stack([wide(x[t].clone()) for t in range(len(x))]).numpy()
        else:
            expected = wide(x).numpy()
    found = run_network(net, {"": other})
    if net.outputs[0] not in found.spikes:  # nothing can reach its threshold, so that it is exported as a read-out
        assert not expected.any(), "spikes of a layer that was exported as one that never spikes"
        return "equal"
    spikes = found.spikes[net.outputs[0]].dense().reshape(expected.shape)
    differing = int((spikes != expected).sum())
    assert differing <= 1e-3 * expected.size, f"{differing} of {expected.size} spikes differ on another sample"
    return "equal"


def check_convert(case: Case, seed: int) -> str:
    """The same of the map between ReLUs, as sigma-delta neurons that send everything."""
    module = ordinary(case)
    x = np.random.default_rng(seed).normal(size=(3, *case.shape)).astype(np.float32)
    try:
        ann = torch_ann.from_torch(module, case.shape)
        made = conversion.convert(ann, x, relative_threshold=0.0)
    except (UnsupportedError, InvalidInputError) as error:
        return f"refused: {error.what}: {error.found}"
    except NeurodeployError as error:
        return f"refused: {error.what}"
    found = run_network(made, {"": conversion.encode(x, 2)}, record=Record(("v",)))
    wide = copy.deepcopy(module).double()
    with torch.no_grad(), in_float64():
        expected = wide(torch.from_numpy(x).double()).numpy().reshape(3, -1)
    scale = max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(scores(made, found), expected, rtol=0, atol=1e-5 * scale)
    return "equal"
