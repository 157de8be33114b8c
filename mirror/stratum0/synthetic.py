"""A source made up from a seed, for tests and benchmarks: the same text gives the same tree.

    files=20000,catalogs=40,median=8k,seed=7

Sizes are lognormal around the median, as real software's are; half of each file shrinks when it is
compressed. With a change, that share of the files in each catalog has other bytes than without.
"""

from __future__ import annotations

import random
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from typing import IO, Final

from mirror.cvmfs.limits import KIB, MIB
from mirror.errors import ConfigError
from mirror.stratum0.entry import CATALOG_MARKER, ROOT, Attributes
from mirror.stratum0.source import SourceEntry

_SPREAD: Final = 1.5
_LARGEST: Final = 64 * MIB
_EPOCH: Final = 1_700_000_000
_UNITS: Final = {"k": KIB, "m": MIB}
_DIRECTORY: Final = stat.S_IFDIR | 0o755
_FILE: Final = stat.S_IFREG | 0o644


@dataclass(frozen=True, slots=True)
class SyntheticSource:
    """A tree of files in nested catalogs.

    Attributes:
        files: how many.
        catalogs: nested ones they are spread over.
        median: size of a file, bytes.
        seed: another seed, other bytes.
        changed: the share of files with other bytes, 0 to 1.
    """

    files: int = 20_000
    catalogs: int = 40
    median: int = 8 * KIB
    seed: int = 7
    changed: float = 0.0

    @classmethod
    def parse(cls, text: str, change: str | None = None) -> SyntheticSource:
        """Read ``key=value,…`` and a share like ``1%``.

        Raises:
            ConfigError: an unknown key, or a value that is no number.
        """
        numbers: dict[str, int] = {}
        for part in filter(None, text.split(",")):
            key, _, value = part.partition("=")
            if key not in ("files", "catalogs", "median", "seed"):
                raise ConfigError([f"--synthetic {part}: there are files, catalogs, median, seed"])
            numbers[key] = _number(value, part)
        if numbers.get("catalogs", 1) < 1 or numbers.get("median", 1) < 1:
            raise ConfigError([f"--synthetic {text}: catalogs and median are at least 1"])
        return cls(**numbers, changed=_share(change))

    def entries(self) -> Iterator[SourceEntry]:
        """As `Source.entries`."""
        yield _directory(ROOT)
        yield _directory(b"/sw")
        for catalog in range(self.catalogs):
            mount = b"/sw/p%05d" % catalog
            yield _directory(mount)
            yield self._file(mount + b"/" + CATALOG_MARKER, 0, -catalog - 1)
            mine = range(catalog, self.files, self.catalogs)
            changed = round(len(mine) * self.changed)
            for position, number in enumerate(mine):
                salt = 1 if position < changed else 0
                draw = random.Random(f"{self.seed}/{number}")  # noqa: S311 - repeatable on purpose
                size = int(self.median * draw.lognormvariate(0, _SPREAD))
                yield self._file(mount + b"/f%07d" % number, min(size, _LARGEST), number, salt)

    def _file(self, path: bytes, size_bytes: int, number: int, salt: int = 0) -> SourceEntry:
        return SourceEntry(
            path,
            Attributes(_FILE, mtime=_EPOCH + salt, mtime_ns=0),
            size_bytes,
            content=partial(_content, f"{self.seed}/{number}/{salt}", size_bytes),
        )


def _content(seed: str, size_bytes: int) -> IO[bytes]:
    half = size_bytes // 2
    draw = random.Random(seed)  # noqa: S311 - repeatable on purpose
    return BytesIO(draw.randbytes(size_bytes - half) + bytes(half))


def _directory(path: bytes) -> SourceEntry:
    return SourceEntry(path, Attributes(_DIRECTORY, mtime=_EPOCH, mtime_ns=0))


def _number(value: str, part: str) -> int:
    unit = _UNITS.get(value[-1:].lower(), 1)
    digits = value[:-1] if unit > 1 else value
    if not digits.isdecimal():
        raise ConfigError([f"--synthetic {part}: write a number, like 20000 or 8k"])
    return int(digits) * unit


def _share(change: str | None) -> float:
    if change is None:
        return 0.0
    try:
        share = float(change.removesuffix("%")) / (100 if change.endswith("%") else 1)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise ConfigError([f"--change {change}: write a share, like 1% or 0.01"])
    return share
