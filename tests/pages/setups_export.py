"""What a reader of a page on an export has: the network, trained on digits; files and refused modules of the framework.

Each network is the page's own file, which lies in the folder already.
"""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from . import blocks, setups

__all__ = [
    "norse", "norse_file", "refused_norse", "refused_sinabs", "refused_snntorch", "refused_spikingjelly", "sinabs",
    "sinabs_file", "snntorch", "snntorch_file", "spikingjelly", "spikingjelly_file",
]  # fmt: skip


def norse(folder: Path) -> None:
    """digits_norse.pt, images.npy and y.npy."""
    import torch

    torch.manual_seed(0)
    model = setups.loaded(folder / "digits_norse.py").Model()
    spikes = model.encoder(torch.tensor(_images()[:1500])).double().numpy()
    weights = setups.trained(model.snn, spikes, lambda voltages: voltages.max(0).values, 3, 2e-2, batch_axis=1)
    torch.save({f"snn.{name}": value for name, value in weights.items()}, folder / "digits_norse.pt")
    _samples(folder, "images.npy", _images(), 32)


def snntorch(folder: Path) -> None:
    """digits_snn.pt, x.npy and y.npy."""
    import torch

    torch.manual_seed(0)
    net = setups.loaded(folder / "digits_snn.py").Net()
    net.fc2.register_forward_pre_hook(lambda _, given: given[0].double())  # snnTorch's spikes are float32
    weights = setups.trained(net, setups.digits()[0][:1500], lambda returned: returned[1].sum(0), 4, 3e-3)
    torch.save(weights, folder / "digits_snn.pt")
    _samples(folder, "x.npy", setups.digits()[0], 64)


def spikingjelly(folder: Path) -> None:
    """digits_sj.pt, x.npy and y.npy."""
    import torch
    from spikingjelly.activation_based import functional

    torch.manual_seed(0)
    net = setups.loaded(folder / "digits_sj.py").CSNN()

    def scores(rates: Any) -> Any:
        functional.reset_net(net)
        return 5 * rates

    epochs = 4
    weights = setups.trained(net, _images()[:1500], scores, epochs, 1e-2)
    torch.save({"net": weights, "epoch": epochs}, folder / "digits_sj.pt")
    _samples(folder, "x.npy", _images(), 32)


def sinabs(folder: Path) -> None:
    """digits_sinabs.pt, x.npy and y.npy."""
    import sinabs as package
    import torch
    from torch import nn

    torch.manual_seed(0)
    page = setups.loaded(folder / "digits_sinabs.py")
    spikes = (torch.rand(1797, 8, 1, 8, 8) < torch.tensor(_images())[:, None]).numpy()

    def scores(each_step: Any) -> Any:
        package.reset_states(page.net)
        return each_step.sum(1)

    for layer in page.net:
        layer.register_forward_pre_hook(lambda _, given: given[0].double())  # sinabs' spikes are float32
    whole = nn.Sequential(nn.Flatten(0, 1), page.net, nn.Unflatten(0, (page.batch_size, -1)))
    weights = setups.trained(whole, spikes[:1500], scores, 3, 1e-2)
    torch.save({name.removeprefix("1."): value for name, value in weights.items()}, folder / "digits_sinabs.pt")
    _samples(folder, "x.npy", spikes, page.batch_size)
    np.save(folder / "x.npy", np.load(folder / "x.npy").reshape(-1, 1, 8, 8))


def _images() -> np.ndarray:
    return setups.digits()[0].reshape(-1, 1, 8, 8)


def _samples(folder: Path, name: str, x: np.ndarray, count: int) -> None:
    """The first of the test digits, and their classes as y.npy."""
    np.save(folder / name, x[1500 : 1500 + count].astype(np.float32))
    np.save(folder / "y.npy", setups.digits()[1][1500 : 1500 + count])


def norse_file(folder: Path) -> None:
    """theirs.nir, written by norse itself."""
    _theirs(folder, "norse-box")


def snntorch_file(folder: Path) -> None:
    """theirs.nir, written by snnTorch itself."""
    _theirs(folder, "snntorch-leaky")


def spikingjelly_file(folder: Path) -> None:
    """theirs.nir, written by SpikingJelly itself."""
    _theirs(folder, "spikingjelly-lif")


def sinabs_file(folder: Path) -> None:
    """theirs.nir, written by sinabs itself."""
    _theirs(folder, "sinabs-lif")


def _theirs(folder: Path, name: str) -> None:
    """A file that a framework wrote itself (see tests/golden/make_tool_files.py), as theirs.nir."""
    with zipfile.ZipFile(blocks.ROOT / "tests" / "golden" / "tool_files.zip") as files:
        (folder / "theirs.nir").write_bytes(files.read(f"{name}.nir"))


def refused_norse(folder: Path) -> None:
    """Networks of norse that are refused."""
    _refused(folder, "norse")


def refused_snntorch(folder: Path) -> None:
    """Networks of snnTorch that are refused."""
    _refused(folder, "snntorch")


def refused_spikingjelly(folder: Path) -> None:
    """Networks of SpikingJelly that are refused."""
    _refused(folder, "spikingjelly")


def refused_sinabs(folder: Path) -> None:
    """A network of sinabs that is refused."""
    _refused(folder, "sinabs")


def _refused(folder: Path, framework: str) -> None:
    shutil.copy(blocks.DOCS / "examples" / f"refused_{framework}.py", folder)
