"""The picture of a report in README.md, taken from the report of `make demo` by a browser without a window.

The PNG keeps a digest of what that `make demo` printed, so that a picture of other figures is found.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from .blocks import DOCS, PageError

PICTURE = DOCS / "report.png"
_SIZE = "1280,1075"


def digest(printed: str) -> str:
    """Of the figures of a demo, but for times."""
    return hashlib.sha256(re.sub(r"trained in \d+ s", "", printed[printed.find("digits-mlp") :]).encode()).hexdigest()


def shows(picture: Path = PICTURE) -> str:
    """The digest of what a picture shows."""
    with Image.open(picture) as image:
        return str(image.info.get("figures", ""))


def take(report: Path, printed: str, picture: Path = PICTURE) -> None:
    """Take the picture.

    Raises:
        PageError: there is no Chromium.
    """
    names = ("chromium", "chromium-browser", "google-chrome")
    browser = next((found for name in names if (found := shutil.which(name))), None)
    if browser is None:
        raise PageError(f"{picture.name} needs a browser: {', '.join(names)}")
    with tempfile.TemporaryDirectory() as folder:
        taken = Path(folder) / "taken.png"
        subprocess.run(
            [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--window-size={_SIZE}",
             f"--user-data-dir={folder}/profile", f"--screenshot={taken}", report.as_uri()],
            check=True, capture_output=True, timeout=120,
        )  # fmt: skip
        about = PngInfo()
        about.add_text("figures", digest(printed))
        with Image.open(taken) as image:
            image.convert("P", palette=Image.Palette.ADAPTIVE).save(picture, pnginfo=about, optimize=True)
