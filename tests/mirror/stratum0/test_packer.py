"""A packer tells of an object once; its `Packing` keeps the account."""

from __future__ import annotations

from functools import partial
from io import BytesIO
from pathlib import Path

import pytest

from mirror.cvmfs.content_hash import Suffix
from mirror.store.local import LocalStore
from mirror.stratum0 import packer as module
from mirror.stratum0.chunking import ChunkSizes
from mirror.stratum0.packer import Cut, Packer, PackingOptions

OPTIONS = PackingOptions(sizes=ChunkSizes(smallest=64, average=128, largest=256))


@pytest.fixture
def packer(tmp_path: Path) -> Packer:
    """With an empty store."""
    store = LocalStore(tmp_path / "store")
    store.prepare_now()
    return Packer(store.staging(), OPTIONS)


def told(packer: Packer, *contents: bytes) -> list[bool]:
    """For each content, whether its object is told of."""
    parts = packer.pack([partial(BytesIO, content) for content in contents])
    return [part.staged is not None for (part,) in parts]


def test_an_object_is_told_of_once(packer: Packer) -> None:
    """As long as it is remembered: empty files are many."""
    assert told(packer, b"", b"", b"1", b"") == [True, False, True, False]
    assert told(packer, b"1", b"2") == [False, True]


def test_memory_is_bounded(packer: Packer, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was forgotten is told of again."""
    monkeypatch.setattr(module, "_REMEMBERED", 2)
    assert told(packer, b"1", b"2", b"3", b"1") == [True] * 4


def test_what_was_cut_is_not_cut_again(packer: Packer) -> None:
    """A piece is one object, and a piece that is all of it too; they are named apart."""
    content = bytes(range(256)) * 10
    cut, piece, whole = packer.pack(
        [partial(BytesIO, content), Cut(content, Suffix.PARTIAL), Cut(content, Suffix.NONE)]
    )
    assert len(cut) > 1
    assert sum(part.size_bytes for part in cut) == len(content)
    names = [part.staged.target for part in (*piece, *whole) if part.staged]
    assert names == [names[1] + "P", names[1]]
