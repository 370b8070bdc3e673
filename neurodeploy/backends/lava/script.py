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
from neurodeploy.files.atomic import atomic_path
from neurodeploy.network.arrays import Array
from neurodeploy.program.program import Program
from neurodeploy.program.recording import Record

from .lower import Job, lower
from .script_template import TEMPLATE

WORKER = Path(__file__).parent / "worker"
WIDTH = 110


@dataclass(frozen=True)
class Kind:
    """How a population stands in the script.

    Args:
        process: with its module; no module for ours.
        fixed, floating: ProcessModels, with their module where it is Lava's.
        reset: state variables.
        v: the variable that is recorded as ``v`` where the potential is read.
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
        self.trees: dict[str, str] = {}

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
            start = self.job.network.by_name[original].neuron.start
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
        if self.job.network.shows(original):
            note += [f"read={kind.v!r}"] + (["spiking=True"] if population.spiking else [])
        line = f"{name} = {process}({', '.join(arguments)})"
        lines = [*_folded(line), f"net.neurons({name}, {model}, {', '.join(note)})"]
        if entry["limit"] is None:
            return lines
        tree, self.own = self._name(f"max of {original}"), True
        self.trees[original] = tree
        self.arrays[f"{tree}.parent"] = self.job.arrays[f"population{index}.parent"]
        parent = f'numbers["{tree}.parent"]'
        what = f"{tree} = MaxCurrent(neurons={entry['size']}, parent={parent}, limit={entry['limit']})"
        model = f"MaxCurrentModel{'Fixed' if self.fixed else 'Float'}"
        return [*lines, *_folded(what), f"net.join({tree}, {model}, {name}.a_in)"]

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
            return [shape, *given("vth", "bias"), *(f"{key}={value!r}" for key, value in rules.items())]
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
        tree = self.trees.get(entry["target"]) if entry["port"] == 1 else None
        into = f"{tree}.a_in" if tree else f"{target}.{self.kinds[entry['target']].ports[entry['port']]}"
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
