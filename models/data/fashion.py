"""Fashion-MNIST: 60,000 training and 10,000 test images of clothes, 28 x 28 pixels of 0 to 255, in ten classes.

An IDX file: two zero bytes, the type (8: unsigned bytes), the number of axes, their sizes as big-endian 32-bit
integers, the values. The four files may be compressed by gzip or not, and be spelled ``train-images-idx3-ubyte`` or
``train-images.idx3-ubyte``.

Data: H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking machine learning
algorithms", arXiv 1708.07747 (2017), MIT licence. Format: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of
handwritten digits", http://yann.lecun.com/exdb/mnist.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np

from neurodeploy.errors import InvalidInputError, MissingFileError
from neurodeploy.files.atomic import existing_file, storage_errors
from neurodeploy.network.arrays import Array, sole

from .dataset import DataSet, Part

FOLDER = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package dataset-fashion-mnist puts the files."""

CLASSES = ("T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
BRIGHTEST = 255
SIZE = 28

_GZIP = b"\x1f\x8b"


def load(folder: Path | None = None) -> DataSet:
    """The data set ``fashion-mnist``, images ``[samples, 1, 28, 28]``; see `read` for folder and errors."""
    (train_x, train_y), (test_x, test_y) = (read(name, folder) for name in ("train", "t10k"))
    train, test = Part(sole(train_x[:, None]), train_y), Part(sole(test_x[:, None]), test_y)
    source = "Fashion-MNIST (Xiao, Rasul, Vollgraf, arXiv 1708.07747)"
    return DataSet("fashion-mnist", train, test, CLASSES, BRIGHTEST, timed=False, simulated=False, source=source)


def read(part: str, folder: Path | None = None) -> tuple[Array, Array]:
    """Images uint8 ``[samples, 28, 28]`` and classes int64 ``[samples]`` of the part ``train`` or ``t10k``.

    Args:
        part: as the names of its files begin.
        folder: of the four IDX files; by default that of Debian's package.

    Raises:
        MissingFileError: a file is not there.
        InvalidInputError: a file is damaged, or is none of Fashion-MNIST.
        StorageError: it cannot be read.
    """
    image_file, label_file = (_found(part, kind, folder) for kind in ("images-idx3", "labels-idx1"))
    images, labels = idx(image_file, 3), idx(label_file, 1)
    if images.shape[1:] != (SIZE, SIZE) or not len(images):
        raise InvalidInputError(
            f"{image_file} holds other images than Fashion-MNIST's",
            found=f"{len(images)} of {' x '.join(map(str, images.shape[1:]))} pixels",
            allowed=f"one or more of {SIZE} x {SIZE} pixels",
        )
    if len(labels) != len(images):
        raise InvalidInputError(
            f"{label_file} and {image_file.name} do not belong together",
            found=f"{len(labels)} classes and {len(images)} images",
            allowed="one class an image",
        )
    if labels.max() >= len(CLASSES):
        raise InvalidInputError(
            f"{label_file} holds classes that Fashion-MNIST does not have",
            found=int(labels.max()),
            allowed=f"0 to {len(CLASSES) - 1}",
        )
    return images, sole(labels.astype(np.int64))


def idx(path: Path, axes: int) -> Array:
    """The bytes in an IDX file with so many axes, in its shape; gzip is known by its first bytes.

    Raises:
        MissingFileError: there is no such file.
        InvalidInputError: it is no such file, or is damaged.
        StorageError: it cannot be read.
    """
    with storage_errors("read", existing_file(path, "an IDX file")):
        raw = path.read_bytes()
    if raw.startswith(_GZIP):
        try:
            raw = gzip.decompress(raw)
        except (OSError, EOFError, zlib.error) as error:
            raise InvalidInputError(
                f"{path} is damaged: gzip cannot unpack it", found=str(error), hint="fetch the file again"
            ) from error
    head = 4 + 4 * axes
    magic = bytes((0, 0, 8, axes))
    if raw[:4] != magic:
        raise InvalidInputError(
            f"{path} is no IDX file of bytes with {axes} ax{'is' if axes == 1 else 'es'}",
            found=f"a beginning of {raw[:4].hex(' ') or 'nothing'}",
            allowed=magic.hex(" "),
        )
    sizes = struct.unpack_from(f">{axes}I", raw, 4) if len(raw) >= head else ()
    expected = head + int(np.prod(sizes, dtype=object)) if sizes else head
    if len(raw) != expected or not sizes:
        raise InvalidInputError(
            f"{path} is damaged: it has another length than its head says",
            found=f"{len(raw)} bytes",
            allowed=f"{expected} bytes" if sizes else f"{head} bytes or more",
            hint="fetch the file again",
        )
    return np.frombuffer(raw, np.uint8, offset=head).reshape(sizes)


def _found(part: str, kind: str, folder: Path | None) -> Path:
    """The file of a part, in any of its spellings."""
    where = FOLDER if folder is None else folder
    plain = f"{part}-{kind}-ubyte"
    spellings = [name + end for name in (plain, plain.replace("-idx", ".idx")) for end in ("", ".gz")]
    for name in spellings:
        if (where / name).is_file():
            return where / name
    raise MissingFileError(
        f"Fashion-MNIST lacks a file: {plain} or {plain}.gz",
        found=f"not in {where}" if where.is_dir() else f"no folder {where}",
        hint="apt-get install dataset-fashion-mnist (Debian, Ubuntu), or name the folder of its four IDX files "
        "with --data",
    )
