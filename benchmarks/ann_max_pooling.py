"""What max pooling costs an ordinary network (ANN) that becomes a spiking one.

    python benchmarks/ann_max_pooling.py [--coding direct] [--record]

The convolutional network of `neurodeploy.models.digits_ann`, trained as it is (average pooling) and with max pooling in
its place; accuracy on the 450 test images as an ANN, and as a spiking network after some numbers of steps. The table is
printed as docs/howto-onnx.md quotes it; ``--record`` keeps it in docs/recorded.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from unittest import mock

from printed import header, recorded, row
from torch import nn

import neurodeploy as nd
from neurodeploy.models import digits, digits_ann

STEPS = (8, 16, 32, 64)


def with_max() -> nn.Module:
    """`digits_ann.build` with max pooling."""
    layers = _build()
    assert isinstance(layers, nn.Sequential)
    return nn.Sequential(*(nn.MaxPool2d(2) if isinstance(layer, nn.AvgPool2d) else layer for layer in layers))


_build = digits_ann.build


def tables(coding: str) -> None:
    """Print everything."""
    data = digits.load()
    calibration, test = digits_ann.inputs(data.train_images[:300]), digits_ann.inputs(data.test_images)
    print(header("pooling", "ANN", *(f"{steps} steps" for steps in STEPS)))
    for title, build in (("average", digits_ann.build), ("max", with_max)):
        with mock.patch.object(digits_ann, "build", build), tempfile.TemporaryDirectory() as folder:
            trained = digits_ann.train()
            cells = []
            for steps in STEPS:
                found = nd.convert(
                    trained.module, calibration, Path(folder) / "ann.nir", steps=steps, test=test,
                    options=nd.ConvertOptions(coding=coding), labels=data.test_labels,
                )  # fmt: skip
                assert found.compared is not None and found.compared.converted is not None
                cells.append(f"{100 * found.compared.converted.accuracy:.1f} %")
        print(row(title, f"{100 * trained.accuracy:.1f} %", *cells))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--coding", choices=("direct", "rate"), default="direct")
    parser.add_argument("--record", action="store_true", help="keep what is printed in docs/recorded")
    args = parser.parse_args()
    with recorded(__file__, args.record):
        tables(args.coding)


if __name__ == "__main__":
    main()
