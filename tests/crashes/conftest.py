"""A replica at one revision and a Stratum 0 at the next, as often as they are needed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from mirror.store import local
from mirror.store.memory import MemoryStore
from tests.support.keys import Keys
from tests.support.publisher import Repository
from tests.support.replicas import Mirror
from tests.support.trees import CHUNK_BYTES, NEXT_TREE, TREE

SOAK = "CVMFS_MIRROR_SOAK"
Make = Callable[[Repository, Path], Mirror]


class Scene:
    """What every attempt begins with.

    Attributes:
        repository: at its second revision, with a tag on each, and alternative paths.
        stride: of very many moments, how many to leave out; none in a dictionary, or with time.
    """

    def __init__(self, keys: Keys, directory: Path, make: Make) -> None:
        self.repository = Repository(keys, chunk_bytes=CHUNK_BYTES)
        self._directory = directory
        self.stride = 1 if make == Mirror.in_memory or os.environ.get(SOAK) else 3
        self._make = make
        self._numbers = count()
        self._last: Mirror | None = None
        self._template = self._new()
        self.repository.publish(TREE, tag="v1")
        self.repository.resign(A="yes")
        self._offer_alternatives()
        self._template.snapshot()
        self.repository.publish(NEXT_TREE, tag="v2")
        self.repository.resign(A="yes")

    def _offer_alternatives(self) -> None:
        for path in [path for path in self.repository.files if path.endswith("X")]:
            digits = path.removeprefix("data/").replace("/", "")
            self.repository.files[f".cvmfsalt-{digits}"] = self.repository.files[path]

    def _new(self) -> Mirror:
        directory = self._directory / str(next(self._numbers))
        directory.mkdir()
        return self._make(self.repository, directory)

    def begin(self, *, is_new: bool = False) -> Mirror:
        """A replica of the first revision, or of none; the one before it is gone."""
        if self._last is not None:
            shutil.rmtree(self._last.directory)
        mirror = self._last = self._new()
        if is_new:
            return mirror
        template = self._template
        shutil.copytree(template.directory, mirror.directory, symlinks=True, dirs_exist_ok=True)
        theirs, ours = template.store, mirror.store
        if isinstance(theirs, MemoryStore) and isinstance(ours, MemoryStore):
            ours.objects.update(theirs.objects)
            ours.root_files.update(theirs.root_files)
        return mirror


@pytest.fixture
def quick_path(tmp_path: Path) -> Iterator[Path]:
    """A directory in memory where there is such a place: hundreds of trees are made here."""
    place = Path("/dev/shm")
    with TemporaryDirectory(dir=place if os.access(place, os.W_OK) else tmp_path) as directory:
        yield Path(directory)


@pytest.fixture(params=[Mirror.in_memory, Mirror.on_disk], ids=["memory", "disk"])
def scene(
    request: pytest.FixtureRequest, keys: Keys, quick_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Scene:
    """In either store; without the syncs, which take long and nothing here can tell."""
    monkeypatch.setattr(local, "syncfs", lambda _directory: None)
    return Scene(keys, quick_path, request.param)
