"""The line of the user's file that is running."""

from __future__ import annotations

import os
import sys
from functools import cache
from pathlib import Path
from types import FrameType

import torch

import neurodeploy

from .user_calls import call_as_user

_CALLER = call_as_user.__code__.co_filename
"""Where the user's code is called: no frame beyond is of it."""

_INSTALLED = os.sep + "site-packages" + os.sep


@cache
def _not_theirs() -> tuple[str, ...]:
    ours = [str(Path(neurodeploy.__file__).parent) + os.sep, str(Path(__file__).resolve().parent) + os.sep]
    return (os.path.dirname(torch.__file__) + os.sep, *ours, "<")


def user_line() -> str:
    """As ``net.py:12``: the innermost line that is neither torch's nor ours; of an installed package where the user's
    own code called nothing else."""
    frame: FrameType | None = sys._getframe(1)
    inside = ""
    while frame is not None:
        file = frame.f_code.co_filename
        if file == _CALLER:
            break
        if not file.startswith(_not_theirs()):
            said = f"{os.path.basename(file)}:{frame.f_lineno}"
            if _INSTALLED not in file:
                return said
            inside = inside or said
        frame = frame.f_back
    return inside
