"""``export --to lava``: the script runs with lava-nc alone and gives the same spikes, potentials and weights."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

import neurodeploy.backends.lava as package
from neurodeploy.backends.lava import script
from neurodeploy.backends.lava.setup import setup, sidecar_python
from neurodeploy.backends.reference import run as reference
from neurodeploy.cli import main
from neurodeploy.network.network import Network
from neurodeploy.network.neurons import Lif
from neurodeploy.program.program import Program
from neurodeploy.program.recording import Recording
from tests.backends.lava_networks import mlp, trains
from tests.conformance import cases
from tests.conformance.programs import Case

BARE = "import sys, runpy; sys.modules['greenlet'] = None; sys.argv = sys.argv[1:]; {more} runpy.run_path(sys.argv[0], "
BARE += "run_name='__main__'); assert not any(name.startswith('neurodeploy') for name in sys.modules)"


@pytest.fixture(scope="module", autouse=True)
def sidecar() -> None:
    setup()


def ran(folder: Path, inputs: dict[str, np.ndarray], *options: str, more: str = "") -> dict[str, np.ndarray]:
    """What the script in ``folder`` writes, run by an interpreter that has lava-nc, NumPy, SciPy and no neurodeploy."""
    arguments = []
    for index, (name, values) in enumerate(inputs.items()):
        np.save(folder / f"{index}.npy", values)
        arguments.append(f"{name}={folder / f'{index}.npy'}")
    command = [str(sidecar_python()), "-I", "-c", BARE.format(more=more), str(folder / "net.py"), *arguments]
    done = subprocess.run(
        [*command, "-o", str(folder / "out.npz"), *options], cwd=folder, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:] + done.stdout
    with np.load(folder / "out.npz", allow_pickle=False) as found:
        return dict(found)


def assert_same(found: dict[str, np.ndarray], judge: Recording, network: Network) -> None:
    compared = 0
    for population in network.populations:
        name = population.name
        for key, expected in (
            (f"spikes of {name}", judge.spikes[name].dense() if name in judge.spikes else None),
            (f"v of {name}", judge.states.get("v", {}).get(name)),
        ):
            if key in found and expected is not None:
                np.testing.assert_allclose(found[key].astype(float), expected.astype(float), atol=1e-9, err_msg=key)
                assert np.any(found[key]), key
                compared += 1
    neurons = [p for p in network.populations if p not in network.inputs and getattr(p.neuron, "always_on", 0) == 0]
    assert compared == len(neurons)
    for name, learned in judge.learned.items():
        for variable, values in learned.items():
            np.testing.assert_allclose(found[f"{variable} of {name}"], values[-1], atol=1e-9, err_msg=variable)


@pytest.mark.parametrize(
    ("name", "arithmetic"),
    [
        ("LIF, parameters of each neuron", "loihi"), ("CubaLIF", "float"), ("initial potential", "loihi"),
        ("soft reset", "loihi"), ("refractory", "float"), ("ternary", "loihi"), ("adaptive threshold", "float"),
        ("reset of the current", "loihi"), ("reset of the current", "float"),
        ("LI read-out", "float"), ("LI that feeds on", "loihi"), ("sigma-delta", "loihi"), ("sigma-delta", "float"),
        ("graded ReLU", "loihi"), ("product gate", "loihi"), ("Conv2d, grouped", "loihi"), ("pooling", "float"),
        ("Sparse", "loihi"), ("delays", "loihi"), ("recurrent", "float"), ("several inputs and outputs", "loihi"),
        ("bias axon", "loihi"), ("STDP, recurrent", "loihi"), ("three-factor rule", "loihi"),
    ],
)  # fmt: skip
def test_the_script_gives_what_the_reference_gives(name: str, arithmetic: str, tmp_path: Path) -> None:
    case: Case = cases.build(name, arithmetic)
    script.export(case.program, tmp_path / "net.py")
    assert_same(ran(tmp_path, case.inputs), reference.run(case.program, case.inputs), case.program.network)


def test_by_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    which = mlp(rng)
    which.save(tmp_path / "net.ndp")
    assert main(["export", str(tmp_path / "net.ndp"), "--to", "lava", "-o", str(tmp_path / "net.py")]) == 0
    assert "python" in capsys.readouterr().out
    inputs = trains(rng, which, steps=9, samples=3)
    assert_same(ran(tmp_path, inputs), reference.run(which, inputs), which.network)
    text = (tmp_path / "net.py").read_text()
    assert "l1 = LIFReset(" in text
    assert "w1 = Dense(" in text
    assert max(map(len, text.splitlines())) <= 130


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["net.nir", "--to", "lava", "-o", "net.py"], "net.nir is not a Program"),
        (["net.ndp", "--to", "lava", "-o", "net.txt"], "the script needs the ending .py"),
        (["net.ndp", "--to", "lava", "-o", "net.py"], "net.ndp"),
    ],
)
def test_refusals(arguments: list[str], message: str, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["export", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


EXTENSION = '''
"""A stand-in for Intel's extension: the adapters between host and chip, and a run configuration."""

import sys, types
sys.path.insert(0, {package!r})
from worker import shim
shim.install()
import numpy as np
from lava.magma.core import run_configs
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol
from lava.utils import loihi


class PyToNxAdapter(AbstractProcess):
    def __init__(self, shape):
        super().__init__(shape=shape)
        self.inp, self.out = InPort(shape=shape), OutPort(shape=shape)


class NxToPyAdapter(PyToNxAdapter):
    pass


class Model(PyLoihiProcessModel):
    inp = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    out = LavaPyType(PyOutPort.VEC_DENSE, np.int32)

    def run_spk(self):
        self.out.send(self.inp.recv())


@implements(proc=PyToNxAdapter, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class ToModel(Model):
    pass


@implements(proc=NxToPyAdapter, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class FromModel(Model):
    pass


module = types.ModuleType("lava.proc.embedded_io.spike")
module.PyToNxAdapter, module.NxToPyAdapter = PyToNxAdapter, NxToPyAdapter
sys.modules["lava.proc.embedded_io"] = types.ModuleType("lava.proc.embedded_io")
sys.modules["lava.proc.embedded_io.spike"] = module
loihi.is_installed = lambda: True
run_configs.Loihi2HwCfg = lambda: run_configs.Loihi2SimCfg(select_tag="fixed_pt")
'''


def test_on_a_chip_that_is_not_there(tmp_path: Path) -> None:
    """The hardware variant against a stand-in for Intel's extension: adapters in place, plain Processes of Lava's."""
    case = cases.build("LIF", "loihi")
    one = {name: values[:, :1] for name, values in case.inputs.items()}
    script.export(case.program, tmp_path / "net.py")
    (tmp_path / "fake").mkdir()
    (tmp_path / "fake" / "extension.py").write_text(EXTENSION.format(package=str(Path(package.__file__).parent)))
    more = f"sys.path.insert(0, {str(tmp_path / 'fake')!r}); import extension;"
    found = ran(tmp_path, one, "--hardware", more=more)
    assert_same(found, reference.run(case.program, one), case.program.network)


@pytest.mark.parametrize(("name", "message"), [("soft reset", "is of a kind that Lava does not have"), ("LIF", "")])
def test_what_a_chip_does_not_run_is_said(name: str, message: str, tmp_path: Path) -> None:
    case = cases.build(name, "loihi")
    script.export(case.program, tmp_path / "net.py")
    if not message:  # no extension
        with pytest.raises(AssertionError, match="Intel's Loihi 2 extension for Lava is not installed here"):
            ran(tmp_path, case.inputs, "--hardware")
        return
    (tmp_path / "fake").mkdir()
    (tmp_path / "fake" / "extension.py").write_text(EXTENSION.format(package=str(Path(package.__file__).parent)))
    more = f"sys.path.insert(0, {str(tmp_path / 'fake')!r}); import extension;"
    one = {key: values[:, :1] for key, values in case.inputs.items()}
    with pytest.raises(AssertionError, match=message):
        ran(tmp_path, one, "--hardware", more=more)
    with pytest.raises(AssertionError, match="one sample at a time"):
        ran(tmp_path, case.inputs, "--hardware", more=more)


def test_names_that_python_does_not_take(tmp_path: Path) -> None:
    """Populations called as keywords, numbers and each other's names in other letters."""
    case = cases.build("recurrent", "loihi")
    other = {"in": "class", "n0": "1.lif", "n1": "A b", "n2": "a_b"}
    from dataclasses import replace

    network = case.program.network
    populations = tuple(replace(p, name=other[p.name]) for p in network.populations)
    projections = tuple(replace(p, source=other[p.source], target=other[p.target]) for p in network.projections)
    renamed = replace(network, populations=populations, projections=projections, outputs=("a_b",))
    homes = {other[name]: cores for name, cores in case.program.core_of.items()}
    homes.pop("class", None)
    program = Program(renamed, "test", homes)
    assert isinstance(renamed.populations[1].neuron, Lif)
    script.export(program, tmp_path / "net.py")
    inputs = {"class": case.inputs["in"]}
    assert_same(ran(tmp_path, inputs), reference.run(program, inputs), renamed)
