"""Files to be served: named as objects are, of the sizes that objects have."""

from __future__ import annotations

import hashlib
import random
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.corpora import FQRN

_SEED = 20_000
_SIGMA = 1.35  # the mean is two and a half times the median then, as in repositories of software
_LEAST_BYTES = 64


@dataclass(frozen=True, slots=True)
class Objects:
    """A tree to be served.

    Attributes:
        root: what is below it is served under its path from here.
        paths: to ask for, in the order in which they are asked for.
        size_bytes: of all of them.
    """

    root: Path
    paths: Sequence[str]
    size_bytes: int

    @classmethod
    def made(cls, root: Path, sizes: Sequence[int]) -> Objects:
        """Write objects of these sizes; the same bytes each time."""
        root.mkdir(parents=True)
        block = random.Random(_SEED).randbytes(max(sizes))
        paths = [_write(root, number, block[:size]) for number, size in enumerate(sizes)]
        random.Random(_SEED).shuffle(paths)
        subprocess.run(["sync", "--file-system", root], check=True)
        return cls(root, paths, sum(sizes))

    @property
    def storage(self) -> Path:
        """What the mirror is given."""
        return self.root / "cvmfs"

    def warm(self) -> None:
        """Read everything, so that it is in the page cache."""
        for path in self.paths:
            (self.root / path[1:]).read_bytes()

    def __str__(self) -> str:
        return f"{len(self.paths):,} objects, {self.size_bytes / 1e6:,.0f} MB"


def usual_sizes(count: int, median: int, largest: int) -> list[int]:
    """Lognormal, as the sizes of files are."""
    dice = random.Random(_SEED)
    sizes = (median * dice.lognormvariate(0, _SIGMA) for _ in range(count))
    return [min(largest, max(_LEAST_BYTES, int(size))) for size in sizes]


def _write(root: Path, number: int, block: bytes) -> str:
    content = number.to_bytes(8, "big") + block[8:]
    name = hashlib.sha1(content, usedforsecurity=False).hexdigest()
    path = f"/cvmfs/{FQRN}/data/{name[:2]}/{name[2:]}"
    file = root / path[1:]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return path
