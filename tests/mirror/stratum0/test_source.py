"""Directories as sources: each entry as stat tells it, parents first."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from mirror.errors import ConfigError
from mirror.stratum0.entry import pack_xattrs
from mirror.stratum0.source import DirectorySource, SourceEntry


def entries(top: Path) -> dict[bytes, SourceEntry]:
    """By path, in their order."""
    return {entry.path: entry for entry in DirectorySource(top).entries()}


def test_parents_come_first_and_names_in_order(tmp_path: Path) -> None:
    """The root, then depth first, by bytes."""
    for path in ("b/x", "a/y", "a-b", "a/b/z"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    order = [b"", b"/a", b"/a/b", b"/a/b/z", b"/a/y", b"/a-b", b"/b", b"/b/x"]
    assert list(entries(tmp_path)) == order


def test_an_entry_is_what_stat_tells(tmp_path: Path) -> None:
    """Mode, owner, size, and the time before 1970 as whole seconds and a fraction ahead of them."""
    file = tmp_path / "file"
    file.write_bytes(b"abc")
    file.chmod(0o4750)
    os.utime(file, ns=(0, -1))
    entry = entries(tmp_path)[b"/file"]
    status = file.stat()
    assert entry.attributes.mode == status.st_mode
    assert (entry.attributes.uid, entry.attributes.gid) == (status.st_uid, status.st_gid)
    assert (entry.attributes.mtime, entry.attributes.mtime_ns) == (-1, 999_999_999)
    assert entry.size_bytes == 3
    assert entry.content is not None
    with entry.content() as content:
        assert content.read() == b"abc"


def test_links_are_not_followed(tmp_path: Path) -> None:
    """Wherever they point, a link is a link with its target, and what it points to is not read."""
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "root").symlink_to("/")
    os.symlink(b"\xff", os.fsencode(tmp_path) + b"/bytes")  # noqa: PTH211 - bytes path
    found = entries(tmp_path)
    assert {path: each.symlink for path, each in found.items()} == {
        b"": b"",
        b"/bytes": b"\xff",
        b"/dangling": b"nowhere",
        b"/root": b"/",
    }
    assert found[b"/root"].content is None


def test_hard_links_share_the_first_name_of_their_directory(tmp_path: Path) -> None:
    """Across directories they are files of their own."""
    (tmp_path / "b").touch()
    (tmp_path / "sub").mkdir()
    for name in ("a", "c", "sub/x"):
        os.link(tmp_path / "b", tmp_path / name)
    links = {path: entry.links for path, entry in entries(tmp_path).items()}
    assert links[b"/a"] == links[b"/b"] == links[b"/c"] == b"/a"
    assert links[b"/sub/x"] is None


def test_sockets_are_left_out_and_fifos_are_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A socket means nothing elsewhere; a fifo would never give its end."""
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as unheard:
        unheard.bind("socket")
    found = entries(tmp_path)
    assert list(found) == [b"", b"/fifo"]
    assert found[b"/fifo"].content is None


def test_xattrs_are_taken_along(tmp_path: Path) -> None:
    """Where the file system has them."""
    try:
        os.setxattr(tmp_path, "user.note", b"\0\xff")
    except OSError:
        pytest.skip("this file system has no extended attributes")
    assert entries(tmp_path)[b""].xattrs == pack_xattrs({b"user.note": b"\0\xff"})


def test_a_directory_that_is_not_there_is_told(tmp_path: Path) -> None:
    """With its name and the reason."""
    with pytest.raises(ConfigError, match="nowhere: No such file or directory"):
        entries(tmp_path / "nowhere")
