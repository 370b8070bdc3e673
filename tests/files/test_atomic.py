"""Files appear whole or not at all."""

import errno
import os
import socket
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


def test_a_pipe_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StorageError, match=r"cannot write .*pipe") as caught:
        write_text(tmp_path / "pipe", "new")
    assert caught.value.found == "a pipe (FIFO)"
    assert (tmp_path / "pipe").is_fifo()
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


def test_a_device_is_not_replaced() -> None:
    with pytest.raises(StorageError, match="cannot write /dev/null") as caught:
        write_text("/dev/null", "new")
    assert caught.value.found == "a character device"
    assert Path("/dev/null").is_char_device()


def test_a_socket_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the name of a socket is short
    with socket.socket(socket.AF_UNIX) as one:
        one.bind("socket")
        with pytest.raises(StorageError, match="cannot write socket"):
            write_text("socket", "new")
    assert Path("socket").is_socket()


def test_through_a_link_to_a_device_nothing_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "out").symlink_to("/dev/null")
    with pytest.raises(StorageError, match=r"cannot write .*out"):
        write_text(tmp_path / "out", "new")
    assert (tmp_path / "out").is_symlink()
    assert Path("/dev/null").is_char_device()


@pytest.mark.parametrize("there", [True, False])
def test_a_link_stays_and_its_target_is_written(tmp_path: Path, there: bool) -> None:
    target = tmp_path / "deep" / "target.txt"
    target.parent.mkdir()
    if there:
        target.write_text("old")
    (tmp_path / "link.txt").symlink_to("deep/target.txt")
    write_text(tmp_path / "link.txt", "new")
    assert (tmp_path / "link.txt").is_symlink()
    assert target.read_text() == "new"
    assert [path.name for path in target.parent.iterdir()] == ["target.txt"]


def test_links_in_a_circle_are_said_clearly(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(StorageError, match=r"cannot write .*a"):
        write_text(tmp_path / "a", "new")
    assert (tmp_path / "a").is_symlink()
