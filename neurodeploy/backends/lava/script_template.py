"""What stands around the Processes of a network in the script of ``export --to lava``."""

from __future__ import annotations

TEMPLATE = '''"""{title}

{what} Needs lava-nc 0.10.0 and nothing else:

    python {file} x.npy [-o results.npz]        x.npy: spikes, [time, batch, ...]
    python {file} name=x.npy other=y.npy        for a network with several inputs
    python {file} x.npy --hardware              on Loihi 2, with Intel's extension for Lava (never tried on a chip)

Results: "spikes of <population>" [time, batch, neurons] (with payloads where they carry any), "v of <population>" for
read-outs and of what else is read, "<variable> of <projection>" as learned at the end of each sample.

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

    def neurons(self, process, model, name, lag, reset, read="", spiking=False):
        if self.hardware:
            return self.on_chip(process, name, read)
        prefix = str(self.folder / f"population{{len(self.files)}}")
        window = {{"interval": self.slot, "offset": lag, "length": self.steps, "samples": self.samples, "limit": 0}}
        states = {{"v": read}} if read else {{}}
        files = {{"prefix": prefix, "progress": "", "name": name}}
        process.proc_params["recording"] = {{**window, "reset": reset, "states": states, **files}}
        self.models[process] = recording(model)
        self.files[name] = prefix, int(np.prod(process.s_out.shape)), read, spiking or not read
        self.last = process

    def join(self, process, model, target):
        if self.hardware:
            raise SystemExit("a MAX of compartments is of a kind that Lava does not have, nor a chip's model for it")
        self.models[process] = model
        process.a_out.connect(target)

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
        for name, (prefix, size, read, spiking) in self.files.items():
            with np.load(f"{{prefix}}.npz", allow_pickle=False) as data:
                payload = data["payloads"] if "payloads" in data else np.array(True)
                sent = np.zeros((self.samples * self.steps, size), payload.dtype)
                sent[np.repeat(np.arange(len(sent)), data["counts"]), data["neurons"]] = payload
            if read:
                found[f"v of {{name}}"] = self.by_time(np.load(f"{{prefix}}.v.npy", allow_pickle=False))
            if spiking:
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
