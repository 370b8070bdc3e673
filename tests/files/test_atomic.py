"""Files appear whole or not at all."""

import errno
import os
from pathlib import Path

import pytest

from neurodeploy.errors import StorageError
from neurodeploy.files import atomic
from neurodeploy.files.atomic import atomic_path, write_text


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "x.txt"
    write_text(target, "old")
    with pytest.raises(KeyboardInterrupt), atomic_path(target) as path:
        path.write_text("half of the new")
        raise KeyboardInterrupt
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_full_disk_is_said_clearly_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "x.txt"
    write_text(target, "old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(atomic.os, "fsync", full)
    with pytest.raises(StorageError) as caught:
        write_text(target, "new")
    assert "free some space" in str(caught.value)
    assert str(target) in str(caught.value)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_below_a_file_is_said_clearly(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="a part of the path is a file"):
        write_text(tmp_path / "file" / "below" / "x.txt", "new")


def test_a_folder_in_the_way_is_said_clearly(tmp_path: Path) -> None:
    (tmp_path / "x.txt").mkdir()
    with pytest.raises(StorageError, match="the path is a folder"):
        write_text(tmp_path / "x.txt", "new")
    assert list(tmp_path.iterdir()) == [tmp_path / "x.txt"]


def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "x.txt", "new")
    finally:
        os.umask(before)
    assert (tmp_path / "x.txt").stat().st_mode & 0o777 == 0o640
