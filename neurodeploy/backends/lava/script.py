"""``export --to lava``: a Python script and its numbers that run a Program with lava-nc alone.

The script says each Process and each connection of the network in a line of its own, as a person would write them. What
runs around them, many samples in one run and reading the results, is the worker's own code, copied below; so are our
Processes, where the network has neurons that Lava has not.
"""

from __future__ import annotations

import ast
import io
import keyword
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neurodeploy import __version__
from neurodeploy.backends.lava.lower import Job, lower
from neurodeploy.connectivity import Array
from neurodeploy.program import Program
from neurodeploy.recording import Record
from neurodeploy.storage import atomic_path

WORKER = Path(__file__).parent / "worker"
WIDTH = 110


@dataclass(frozen=True)
class Kind:
    """How a population stands in the script.

    Args:
        process: with its module; no module for ours.
        fixed, floating: ProcessModels, with their module where it is Lava's.
        reset: state variables.
        v: the variable that is recorded as ``v`` for a read-out.
        ports: of its input.
    """

    process: tuple[str, str]
    fixed: tuple[str, str]
    floating: tuple[str, str]
    reset: tuple[str, ...]
    v: str = "v"
    ports: tuple[str, ...] = ("a_in",)


def _lif(process: str, fixed: str, floating: str, *more: str) -> Kind:
    models = "lava.proc.lif.models"
    return Kind(("lava.proc.lif.process", process), (models, fixed), (models, floating), ("u", "v", *more))


def _ours(process: str, reset: tuple[str, ...], v: str = "", ports: tuple[str, ...] = ("a_in",)) -> Kind:
    return Kind(("", process), ("", f"{process}ModelFixed"), ("", f"{process}ModelFloat"), reset, v, ports)


_TWO = ("a_in1", "a_in2")
_SDN, _GRADED, _PROD = "lava.proc.sdn", "lava.proc.graded", "lava.proc.prodneuron"
KINDS = {
    "LIF": _lif("LIF", "PyLifModelBitAcc", "PyLifModelFloat"),
    "LIFReset": _lif("LIFReset", "PyLifResetModelBitAcc", "PyLifResetModelFloat"),
    "TernaryLIF": _lif("TernaryLIF", "PyTernLifModelFixed", "PyTernLifModelFloat"),
    "LIFRefractory": _lif("LIFRefractory", "", "PyLifRefractoryModelFloat", "refractory_period_end"),
    "Neuron": _ours("Neuron", ("u", "v", "wait", "theta"), "v"),
    "LearningNeuron": _ours(
        "LearningNeuron", ("u", "v", "wait", "theta", "y1", "y2", "y3"), "v", ("a_in", "a_third_factor_in")
    ),
    "SigmaDelta": Kind(
        (f"{_SDN}.process", "SigmaDelta"), ("", ""), (f"{_SDN}.models", "PySigmaDeltaModelFloat"),
        ("sigma", "act", "residue", "error"), "",
    ),
    "SigmaDeltaNeuron": _ours("SigmaDeltaNeuron", ("sigma", "act", "sent")),
    "GradedReluVec": Kind(
        (f"{_GRADED}.process", "GradedReluVec"), (f"{_GRADED}.models", "PyGradedReluVecModelFixed"), ("", ""),
        ("v",), "",
    ),
    "ReluNeuron": _ours("ReluNeuron", ()),
    "ProdNeuron": Kind(
        (f"{_PROD}.process", "ProdNeuron"), (f"{_PROD}.models", "PyProdNeuronModelFixed"), ("", ""), ("v",), "", _TWO
    ),
    "ProductNeuron": _ours("ProductNeuron", (), "", _TWO),
}  # fmt: skip


def export(program: Program, path: Path) -> tuple[Path, Path]:
    """Write ``path`` (a ``.py`` file) and its numbers beside it (``.npz``); return both.

    Raises:
        UnsupportedError: Lava cannot express the Program.
        StorageError: the folder cannot be written to, or the disk is full.
    """
    blank = {p.name: np.zeros((1, 1, p.size), np.uint8) for p in program.network.inputs}
    job = lower(program, blank, Record(), expanded=0)
    text, arrays = _Script(program, job, path.stem).write()
    numbers = path.with_suffix(".npz")
    with atomic_path(numbers) as temporary:
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **arrays)
        temporary.write_bytes(buffer.getvalue())
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path, numbers


class _Script:
    def __init__(self, program: Program, job: Job, stem: str) -> None:
        self.program, self.job, self.stem = program, job, stem
        self.fixed = job.description["tag"] == "fixed_pt"
        self.names: dict[str, str] = {}
        self.imports: dict[str, set[str]] = {"lava.proc.io.source": {"RingBuffer"}}
        self.arrays: dict[str, Array] = {}
        self.kinds: dict[str, Kind] = {}
        self.own = False

    def write(self) -> tuple[str, dict[str, Array]]:
        """The script's text, and its arrays."""
        entries = self.job.description["populations"]
        lines: list[str] = []
        for index, entry in enumerate(entries):
            lines += self._population(index, entry)
        lines.append("")
        for index, entry in enumerate(self.job.description["projections"]):
            lines += self._projection(index, entry)
        learns = bool(self.job.learned)
        modules = ["recorder", *(["neurons"] if self.own or learns else []), *(["learning"] if learns else [])]
        copied, imports = _copied(modules)
        for module, wanted in sorted(self.imports.items()):
            imports.append(f"from {module} import {', '.join(sorted(wanted))}")
        shim, more = _copied(["shim"])
        imports += [*more, "from pathlib import Path"]
        lava = sorted({line for line in imports if "lava" in line})
        plain = sorted({line for line in imports if "lava" not in line and "__future__" not in line})
        network = "\n".join(f"    {line}" if line else "" for line in lines)
        text = TEMPLATE.format(
            title=f"{self.program.network.name}, exported by neurodeploy {__version__}",
            what=self._about(),
            file=f"{self.stem}.py",
            imports="\n".join(plain),
            shim=shim,
            lava="\n".join(f"{line}  # noqa: E402" for line in lava),
            gap=self.job.slot - 1,
            depth=self.job.chip_steps - 1,
            tag=self.job.description["tag"],
            lags=dict(self.job.lag),
            inputs=", ".join(repr(p.name) for p in self.program.network.inputs),
            network=network,
            copied=copied,
        )
        return text, self.arrays

    def _about(self) -> str:
        network = self.program.network
        neurons = sum(p.size for p in network.populations if p not in network.inputs)
        arithmetic = "Loihi's integers" if self.fixed else "floats"
        source = self.program.provenance.get("source", "")
        return f"{neurons:,} neurons in {arithmetic}{', from ' + source if source else ''}."

    def _name(self, name: str, projection: bool = False) -> str:
        """A Python name of its own for a population or projection."""
        key = f"projection {name}" if projection else name
        if key not in self.names:
            plain = re.sub(r"\W+", "_", name).strip("_").lower() or "n"
            plain = f"n_{plain}" if plain[0].isdigit() or keyword.iskeyword(plain) else plain
            taken = {*self.names.values(), "net", "numbers", "steps", "samples", "slot"}
            while plain in taken:
                plain += "_"
            self.names[key] = plain
        return self.names[key]

    def _value(self, name: str, key: str, array: Array) -> str:
        """A number in the text, or an array in the file."""
        if array.size == 1:
            number = array.ravel()[0].item()
            return repr(number) if np.isfinite(number) else f'float("{number}")'
        self.arrays[f"{name}.{key}"] = array
        return f'numbers["{name}.{key}"]'

    def _import(self, place: tuple[str, str]) -> str:
        module, name = place
        if module:
            self.imports.setdefault(module, set()).add(name)
        else:
            self.own = True
        return name

    def _population(self, index: int, entry: Mapping[str, Any]) -> list[str]:
        name, original = self._name(entry["name"]), entry["name"]
        arrays = {key: self.job.arrays[f"population{index}.{key}"] for key in entry["arrays"]}
        lag = self.job.lag[original]
        if entry["kind"] == "source":
            given = self.program.network.by_name.get(original)
            if given is not None and given in self.program.network.inputs:
                return [f"{name} = net.source(inputs[{original!r}], lag={lag})"]
            start = self.job.network.by_name[original].neuron.start  # type: ignore[union-attr]
            return [f"{name} = net.always_on({entry['size']}, start={start}, lag={lag})"]
        what = entry["kind"]
        if what == "LIF" and not arrays["v"].any():
            what = "LIFReset"
        kind = KINDS[what]
        self.kinds[original] = kind
        arguments = self._arguments(name, what, entry, arrays, lag)
        process, model = self._import(kind.process), self._import(kind.fixed if self.fixed else kind.floating)
        population = self.job.network.by_name[original]
        note = [f"name={original!r}", f"lag={lag}", f"reset={kind.reset!r}"]
        if not population.spiking:
            note.append(f"read={kind.v!r}")
        line = f"{name} = {process}({', '.join(arguments)})"
        return [*_folded(line), f"net.neurons({name}, {model}, {', '.join(note)})"]

    def _arguments(
        self, name: str, what: str, entry: Mapping[str, Any], arrays: Mapping[str, Array], lag: int
    ) -> list[str]:
        rules, shape = entry["rules"], f"shape=({entry['size']},)"

        def given(*keys: str) -> list[str]:
            return [f"{key}={self._value(name, key, arrays[key])}" for key in keys]

        if what in ("Neuron", "LearningNeuron"):
            values = {key: self._value(name, key, arrays[key]) for key in arrays if key != "v"}
            plain = {key: value for key, value in rules.items() if key != "traces"}
            listed = ", ".join(f'"{key}": {value}' for key, value in values.items())
            extra = [f"traces={rules['traces']!r}"] if "traces" in rules else []
            return [shape, *given("v"), f"values={{{listed}}}", f"rules={plain!r}", *extra]
        if what in ("SigmaDelta", "SigmaDeltaNeuron"):
            if what == "SigmaDelta":
                mode = self._import((f"{_SDN}.process", "ActivationMode"))
                return [shape, *given("vth", "bias"), f"act_mode={mode}.{'RELU' if rules['relu'] else 'UNIT'}"]
            return [shape, *given("vth", "bias"), f"relu={rules['relu']!r}", f"state_exp={rules['state_exp']}"]
        if what in ("GradedReluVec", "ReluNeuron", "ProdNeuron", "ProductNeuron"):
            return [shape, *given(*arrays), *([f"exp={rules['exp']}"] if "exp" in rules else [])]
        registers = given("du", "dv", "bias_mant", "bias_exp")
        if what == "LIFReset":
            return [shape, *registers, *given("vth"), "reset_interval=slot", f"reset_offset={lag + 1}"]
        if what == "TernaryLIF":
            high, low = (self._value(name, key, arrays[key]) for key in ("vth", "vth_lo"))
            return [shape, *registers, *given("v"), f"vth_hi={high}", f"vth_lo={low}"]
        period = [f"refractory_period={rules['period']}"] if what == "LIFRefractory" else []
        return [shape, *registers, *given("v", "vth"), *period]

    def _projection(self, index: int, entry: Mapping[str, Any]) -> list[str]:
        name = self._name(entry["name"], projection=True)
        source, target = self._name(entry["source"]), self._name(entry["target"])
        arrays = {key: self.job.arrays[f"projection{index}.{key}"] for key in entry["arrays"]}
        self.arrays |= {f"{name}.{key}": value for key, value in arrays.items()}
        port = self.kinds[entry["target"]].ports[entry["port"]]
        into = f"{target}.{port}"
        if entry["kind"] == "learning":
            return self._learning(name, source, target, into, entry)
        bits = 24 if entry["graded"] else 0
        options = [f"num_message_bits={bits}"] if bits else []
        if entry["kind"] == "conv":
            return self._conv(name, source, into, entry, options)
        if self.fixed:
            mode = self._import(("lava.utils.weightutils", "SignMode"))
            options += [
                f"weight_exp={entry['exponent']}",
                "num_weight_bits=8",
                f"sign_mode={mode}.{entry['sign_mode']}",
            ]
        delay = "Delay" if entry["delay"] else ""
        kind = "Dense" if entry["kind"] == "dense" else "Sparse"
        module = f"lava.proc.{kind.lower()}"
        process = self._import((f"{module}.process", delay + kind))
        model = self._import((f"{module}.models", f"Py{delay}{kind}Model{'BitAcc' if self.fixed else 'Float'}"))
        if kind == "Sparse":
            shape = f"({entry['outputs']}, {entry['inputs']})"
            weights = f'net.matrix("{name}", {shape})'
            delays = f'net.matrix("{name}", {shape}, {entry["delay"]})'
        else:
            weights, delays = f'net.weights("{name}")', str(entry["delay"])
        if delay:
            options.append(f"delays={delays}")
        line = f"{name} = {process}(weights={weights}, {', '.join(options)})".replace(", )", ")")
        return [*_folded(line), f"net.connect({source}.s_out, {name}, {model}, {into})"]

    def _conv(self, name: str, source: str, into: str, entry: Mapping[str, Any], options: list[str]) -> list[str]:
        process = self._import(("lava.proc.conv.process", "Conv"))
        model = self._import(("lava.proc.conv.models", f"PyConvModel{'Fixed' if self.fixed else 'Float'}"))
        channels, height, width = entry["input_shape"]
        geometry = [f"{key}={tuple(entry[key][::-1])}" for key in ("padding", "stride", "dilation")]
        arguments = [f'weight=net.kernel("{name}")', f"input_shape=({width}, {height}, {channels})", *geometry]
        arguments += [f"groups={entry['groups']}", *options]
        line = f"{name} = {process}({', '.join(arguments)})"
        return [
            *_folded(line),
            f"net.connect_images({source}.s_out, {name}, {model}, {into}, ({channels}, {height}, {width}))",
        ]

    def _learning(self, name: str, source: str, target: str, into: str, entry: Mapping[str, Any]) -> list[str]:
        process = self._import(("lava.proc.dense.process", "LearningDense"))
        bits = "BitApproximate" if self.fixed else "Float"
        model = self._import(("lava.proc.dense.models", f"PyLearningDenseModel{bits}"))
        mode = self._import(("lava.utils.weightutils", "SignMode"))
        options = [f"sign_mode={mode}.{entry['sign_mode']}"]
        if self.fixed:
            options += [f"weight_exp={entry['exponent']}", "num_weight_bits=8"]
        rule = dict(entry["rule"])
        line = (
            f'{name} = {process}(weights=net.weights("{name}"), tag_1=numbers["{name}.tag_1"], '
            f'tag_2=numbers["{name}.tag_2"], learning_rule=learning_rule({rule!r}), {", ".join(options)})'
        )
        lag = self.job.lag[entry["source"]]
        return [
            *_folded(line),
            f"net.connect_learning({source}.s_out, {name}, {model}, {into}, {target}, "
            f"name={entry['name']!r}, lag={lag}, factors={rule['factors']})",
        ]


def _folded(line: str) -> list[str]:
    """A call over several lines, one argument each, where it is too long for one."""
    if len(line) <= WIDTH:
        return [line]
    call = ast.parse(line).body[0]
    assert isinstance(call, ast.Assign) and isinstance(call.value, ast.Call)
    head = line[: line.index("(") + 1]
    return [head, *(f"    {k.arg}={ast.unparse(k.value)}," for k in call.value.keywords), ")"]


def _copied(modules: list[str]) -> tuple[str, list[str]]:
    """Source of the worker's modules without their imports, and the imports."""
    parts, imports = [], []
    for module in modules:
        source = (WORKER / f"{module}.py").read_text(encoding="utf-8")
        tree = ast.parse(source)
        lines = source.splitlines()
        for node in tree.body:
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                if not (isinstance(node, ast.ImportFrom) and node.level):
                    imports.append(ast.unparse(node))
            elif not (isinstance(node, ast.Expr) and node is tree.body[0]):
                first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
                parts.append("\n".join(lines[first - 1 : node.end_lineno]))
    text, before = "", ""
    for part in parts:
        gap = "\n\n\n" if part.startswith(("class", "def", "@")) or before.startswith(("class", "def", "@")) else "\n"
        text += (gap if text else "") + part
        before = part
    return text.replace("  # type: ignore[misc, unused-ignore]", ""), imports


TEMPLATE = '''"""{title}

{what} Needs lava-nc 0.10.0 and nothing else:

    python {file} x.npy [-o results.npz]        x.npy: spikes, [time, batch, ...]
    python {file} name=x.npy other=y.npy        for a network with several inputs
    python {file} x.npy --hardware              on Loihi 2, with Intel's extension for Lava (never tried on a chip)

Results: "spikes of <population>" [time, batch, neurons] (with payloads where they carry any), "v of <population>" for
read-outs that do not spike, "<variable> of <projection>" as learned at the end of each sample.

Time. Each hop costs a step: a population with lag l computes step k of a sample l steps later than a source sends it.
It is awake only then, from its initial state, so its bias does not act before its first input can arrive.
"""

from __future__ import annotations

import argparse
import tempfile
{imports}

# Lava asks for Python < 3.11; this makes it work with later ones, too.
{shim}


install()

from lava.magma.core.run_conditions import RunSteps  # noqa: E402
from lava.magma.core.run_configs import Loihi2SimCfg  # noqa: E402
from lava.proc.io.source import PySendModelFixed, PySendModelFloat  # noqa: E402
{lava}
from scipy.sparse import csr_matrix  # noqa: E402

GAP, DEPTH, TAG = {gap}, {depth}, "{tag}"
LAGS = {lags}
INPUTS = [{inputs}]
numbers = np.load(Path(__file__).with_suffix(".npz"), allow_pickle=False)


def network(net, inputs, slot):
    """Make and connect all Processes; each line is one of them, or one connection."""
{network}


# What follows does not depend on the network.

{copied}


class Net:
    """What all Processes of a run share, and which ProcessModel runs each of them."""

    def __init__(self, inputs, folder, hardware):
        self.steps, self.samples = next(iter(inputs.values())).shape[:2]
        self.slot = self.steps + GAP
        self.length = (self.samples - 1) * self.slot + self.steps + DEPTH
        self.folder, self.hardware = folder, hardware
        self.models, self.files, self.learned, self.sinks = {{}}, {{}}, {{}}, {{}}

    def source(self, spikes, lag):
        train = np.zeros((self.length, int(np.prod(spikes.shape[2:]))), np.int32 if TAG == "fixed_pt" else float)
        at = lag + np.arange(self.steps)[:, None] + np.arange(self.samples) * self.slot
        train[at] = spikes.reshape(self.steps, self.samples, -1)
        process = RingBuffer(data=train.T)
        self.models[process] = PySendModelFixed if TAG == "fixed_pt" else PySendModelFloat
        if not self.hardware:
            return process
        from lava.proc.embedded_io.spike import PyToNxAdapter

        adapter = PyToNxAdapter(shape=process.s_out.shape)
        process.s_out.connect(adapter.inp)
        adapter.s_out = adapter.out
        return adapter

    def always_on(self, size, start, lag):
        spikes = np.zeros((self.steps, self.samples, size), int)
        spikes[start:] = 1
        return self.source(spikes, lag)

    def neurons(self, process, model, name, lag, reset, read=""):
        if self.hardware:
            return self.on_chip(process, name, read)
        prefix = str(self.folder / f"population{{len(self.files)}}")
        window = {{"interval": self.slot, "offset": lag, "length": self.steps, "samples": self.samples, "limit": 0}}
        states = {{"v": read}} if read else {{}}
        files = {{"prefix": prefix, "progress": "", "name": name}}
        process.proc_params["recording"] = {{**window, "reset": reset, "states": states, **files}}
        self.models[process] = recording(model)
        self.files[name] = prefix, int(np.prod(process.s_out.shape)), read
        self.last = process

    def on_chip(self, process, name, read):
        """A population as the chip has it, with its spikes read back; one sample a run, and no states."""
        from lava.proc.embedded_io.spike import NxToPyAdapter
        from lava.proc.io.sink import RingBuffer as Sink

        if type(process).__module__ == __name__:
            raise SystemExit(f"population {{name!r}} is of a kind that Lava does not have, nor a chip's model for it")
        adapter = NxToPyAdapter(shape=process.s_out.shape)
        sink = Sink(shape=process.s_out.shape, buffer=self.length)
        process.s_out.connect(adapter.inp)
        adapter.out.connect(sink.a_in)
        self.sinks[name] = sink
        self.last = process

    def weights(self, name):
        return numbers[f"{{name}}.weights"].astype(np.int32 if TAG == "fixed_pt" else float)

    def kernel(self, name):
        """Torch's [out, in, height, width] as Lava's [out, width, height, in], flipped."""
        return self.weights(name)[:, :, ::-1, ::-1].transpose(0, 3, 2, 1)

    def matrix(self, name, shape, value=None):
        data, indices, indptr = (numbers[f"{{name}}.{{key}}"] for key in ("data", "indices", "indptr"))
        if value is not None:
            data = np.full(len(data), value, int)
        return csr_matrix((data.astype(np.int32 if TAG == "fixed_pt" else float), indices, indptr), shape=shape)

    def connect(self, source, process, model, target):
        self.models[process] = model
        source.connect(process.s_in)
        process.a_out.connect(target)

    def connect_images(self, source, process, model, target, shape):
        self.models[process] = model
        source.reshape(shape).transpose((2, 1, 0)).connect(process.s_in)
        process.a_out.transpose((2, 1, 0)).reshape(target.shape).connect(target)

    def connect_learning(self, source, process, model, target, neuron, name, lag, factors):
        self.connect(source, process, model, target)
        if factors == 2:
            neuron.s_out.connect(process.s_in_bap)
        else:
            neuron.s_out_bap.connect(process.s_in_bap)
            for trace in ("y1", "y2", "y3"):
                getattr(neuron, f"s_out_{{trace}}").connect(getattr(process, f"s_in_{{trace}}"))
        if self.hardware:
            return
        prefix = str(self.folder / f"projection{{len(self.learned)}}")
        window = {{"interval": self.slot, "offset": lag, "length": self.steps, "samples": self.samples}}
        process.proc_params["recording"] = {{**window, "everything": False, "prefix": prefix}}
        self.models[process] = learning(model)
        self.learned[name] = prefix, process.weights.shape

    def run(self):
        if self.hardware:
            from lava.magma.core.run_configs import Loihi2HwCfg

            self.last.run(condition=RunSteps(num_steps=self.length), run_cfg=Loihi2HwCfg())
            found = {{}}
            for name, sink in self.sinks.items():
                sent = np.asarray(sink.data.get()).reshape(-1, self.length).T
                found[f"spikes of {{name}}"] = sent[LAGS[name] : LAGS[name] + self.steps, None]
            self.last.stop()
            return found
        config = Loihi2SimCfg(select_tag=TAG, exception_proc_model_map=self.models)
        for process in list(self.models):
            prefix = process.proc_params.get("recording", {{}}).get("prefix")
            if prefix and not list(self.folder.glob(f"{{Path(prefix).name}}.*")):  # parts that nothing connects
                process.run(condition=RunSteps(num_steps=self.length), run_cfg=config)
                process.stop()
        return self.results()

    def results(self):
        found = {{}}
        for name, (prefix, size, read) in self.files.items():
            with np.load(f"{{prefix}}.npz", allow_pickle=False) as data:
                payload = data["payloads"] if "payloads" in data else np.array(True)
                sent = np.zeros((self.samples * self.steps, size), payload.dtype)
                sent[np.repeat(np.arange(len(sent)), data["counts"]), data["neurons"]] = payload
            if read:
                found[f"v of {{name}}"] = self.by_time(np.load(f"{{prefix}}.v.npy", allow_pickle=False))
            else:
                found[f"spikes of {{name}}"] = self.by_time(sent)
        for name, (prefix, shape) in self.learned.items():
            for variable in LEARNED:
                value = np.load(f"{{prefix}}.{{variable}}.npy", allow_pickle=False)
                matrix = variable in ("weights", "tag_1", "tag_2")
                found[f"{{variable}} of {{name}}"] = value.reshape(self.samples, *shape) if matrix else value
        return found

    def by_time(self, rows):
        """[samples x steps, neurons] to [time, batch, neurons]."""
        return rows.reshape(self.samples, self.steps, -1).transpose(1, 0, 2)


def run(inputs, hardware=False):
    """Run the network on {{name: [time, batch, ...]}} and return its results by name."""
    if hardware:
        from lava.utils import loihi

        if not loihi.is_installed():
            raise SystemExit("Intel's Loihi 2 extension for Lava is not installed here")
        if next(iter(inputs.values())).shape[1] > 1:
            raise SystemExit("on the chip, run one sample at a time ([time, 1, ...])")
    with tempfile.TemporaryDirectory() as folder:
        net = Net(inputs, Path(folder), hardware)
        network(net, inputs, net.slot)
        return net.run()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input", nargs="+", metavar="[NAME=]X.npy", help="spikes, [time, batch, ...]")
    parser.add_argument("-o", "--output", metavar="RESULTS.npz", help="write all results there")
    parser.add_argument("--hardware", action="store_true", help="run on Loihi 2")
    args = parser.parse_args()
    inputs = {{}}
    for item in args.input:
        name, _, path = item.rpartition("=")
        inputs[name or INPUTS[0]] = np.load(path, allow_pickle=False)
    if sorted(inputs) != sorted(INPUTS):
        raise SystemExit(f"inputs are {{sorted(inputs)}}, but the network has {{sorted(INPUTS)}}")
    found = run(inputs, args.hardware)
    for name, values in found.items():
        print(f"{{name}}: {{int(np.count_nonzero(values))}} not zero of {{values.size}}")
    if args.output:
        np.savez_compressed(args.output, **found)


if __name__ == "__main__":
    main()
'''
