"""Builds a network of clocks in Brian2's C++ standalone; run by `function_speed.py` with a Python that has Brian2.

    python brian2_build.py ARRAYS.npz FOLDER STEPS

ARRAYS holds ``initial`` ``[neurons]``, ``targets`` ``[neurons, fan-out]`` and ``threshold``. FOLDER/main runs it.
"""

import sys


def main(path: str, folder: str, steps: int) -> None:
    import brian2 as b2
    import numpy as np

    arrays = np.load(path)
    b2.set_device("cpp_standalone", directory=folder, build_on_run=False)
    b2.defaultclock.dt = 1 * b2.ms
    size, fanout = arrays["targets"].shape
    group = b2.NeuronGroup(
        size, "dv/dt = 1/ms : 1", threshold=f"v > {float(arrays['threshold'])}", reset="v = 0", method="euler"
    )
    group.v = arrays["initial"]
    synapses = b2.Synapses(group, group, "w : 1", on_pre="v_post += w")
    synapses.connect(i=np.repeat(np.arange(size), fanout), j=arrays["targets"].ravel())
    b2.run(steps * b2.ms)
    b2.device.build(directory=folder, compile=True, run=False)


if __name__ == "__main__":
    if len(sys.argv) == 4:
        main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
    else:
        print(__doc__)
