"""Compiled kernels do not outlive the sources that they call into."""

from __future__ import annotations

import os
from pathlib import Path

from neurodeploy.hwsim.compiling.stale import STAMP, drop_stale


def test_a_changed_source_drops_all_kernels(tmp_path: Path) -> None:
    first, second = tmp_path / "a.py", tmp_path / "b.py"
    first.write_text("1")
    second.write_text("2")
    assert drop_stale(tmp_path)  # nothing is known yet
    cache = tmp_path / "__pycache__"
    kernel, index, module = cache / "b.f-1.py311.1.nbc", cache / "b.f-1.py311.nbi", cache / "b.cpython-311.pyc"
    for path in (kernel, index, module):
        path.write_bytes(b"")
    assert not drop_stale(tmp_path)
    assert kernel.exists()
    first.write_text("3")
    os.utime(first, ns=(10**18, 10**18))
    assert drop_stale(tmp_path)
    assert not kernel.exists() and not index.exists() and module.exists()
    assert (cache / STAMP).exists() and not drop_stale(tmp_path)
    (tmp_path / "c.py").write_text("new")
    assert drop_stale(tmp_path)


def test_nothing_is_kept_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("1")
    (tmp_path / "__pycache__").write_text("a file where the folder would be")
    assert not drop_stale(tmp_path)
