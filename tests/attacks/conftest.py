"""A siege for each test, in memory where the machine has room: no disk's syncs are tested here."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import pytest

from mirror.cvmfs.limits import GIB
from tests.support.http_stratum0 import HttpStratum0
from tests.support.keys import Keys
from tests.support.siege import FQRN, Siege

_MEMORY: Final = Path("/dev/shm")


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Path]:
    """A directory for everything that belongs to the replica's host."""
    if not _MEMORY.is_dir() or shutil.disk_usage(_MEMORY).free < 2 * GIB:
        yield tmp_path
    else:
        with TemporaryDirectory(dir=_MEMORY, prefix="siege.") as directory:
            yield Path(directory)


@pytest.fixture
def siege(keys: Keys, host: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Siege]:
    """A replica that serves one good revision, and the next one offered."""
    with HttpStratum0({}, FQRN) as stratum0:
        yield Siege(host, keys, stratum0, capsys)
