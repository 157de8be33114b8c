"""The repository that the real publisher made: see tests/data/README.md."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Final

from tests.support.keys import FIXTURE_NAME

REVISIONS: Final = tuple(f"rev{number}" for number in range(1, 9))
"""Folders of the fixture, oldest first."""

_ARCHIVE: Final = Path(__file__).parents[2] / "mirror" / "demo" / f"{FIXTURE_NAME}.tar.xz"


def unpack_fixture(target: Path) -> Path:
    """Unpack below ``target``; returns the folder with ``rev1`` … ``rev8`` and ``keys``."""
    with tarfile.open(_ARCHIVE) as archive:
        if hasattr(tarfile, "data_filter"):  # not in every 3.11; and later a warning without
            archive.extractall(target, filter="data")
        else:
            archive.extractall(target)
    return target / FIXTURE_NAME
