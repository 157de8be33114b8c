"""Repositories to replicate, in two revisions, made with the project's own publisher.

    <cache>/<name>/rev1, rev2    trees for an origin; rev2 holds the objects of both
                   keys/         of the publisher
                   corpus.json   what is in them; written last

Revision 2 changes one file of a hundred in every catalog. Where catalogs hold fewer than a hundred
files, it changes one file in every hundredth catalog instead.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from mirror.cvmfs.fqrn import Fqrn
from mirror.stratum0.keys import WHITELIST_DAYS, PublisherKeys
from mirror.stratum0.publishing import Publication, PublicationOptions
from mirror.stratum0.repository import Stratum0Repository
from mirror.stratum0.source import Source, SourceEntry
from mirror.stratum0.synthetic import SyntheticSource

FQRN = Fqrn("bench.example.org")
_DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be made.

    Attributes:
        files: in all.
        catalogs: nested ones; the files are spread over them.
        median: size of a file, bytes; half of each is zeros.
        revisions: one or two; of one, both trees are the same.
    """

    files: int
    catalogs: int
    median: int
    revisions: int = 2

    @property
    def name(self) -> str:
        """Of its directory."""
        return f"{self.files}-files-{self.catalogs}-catalogs-{self.median}-bytes-{self.revisions}"

    def is_changed(self, number: int) -> bool:
        """Whether revision 2 has other bytes in a file."""
        position, catalog = divmod(number, self.catalogs)
        share = self.files // self.catalogs // 100
        return position < share or (not share and position == 0 and catalog % 100 == 0)


@dataclass(frozen=True, slots=True)
class Corpus:
    """A repository in two revisions.

    Attributes:
        directory: where it is.
        plan: what it was made from.
        objects: stored for revision 1: files, catalogs, and what the manifest names.
        size_bytes: of those.
        new_objects: that revision 2 has besides.
    """

    directory: Path
    plan: Plan
    objects: int
    size_bytes: int
    new_objects: int

    @property
    def key(self) -> Path:
        """What a mirror is given."""
        return self.directory / "keys" / f"{FQRN}.pub"

    def revision(self, number: int) -> Path:
        """What an origin serves as revision 1 or 2."""
        return self.directory / f"rev{number}"

    @classmethod
    def made(cls, plan: Plan, cache: Path) -> Self:
        """The one in the cache, or a new one if there is none or its whitelist is getting old."""
        directory = cache / plan.name
        summary = directory / "corpus.json"
        if summary.exists() and _age_days(summary) < WHITELIST_DAYS / 2:
            found = json.loads(summary.read_text())
            return cls(directory, plan, **{key: found[key] for key in _COUNTS})
        shutil.rmtree(directory, ignore_errors=True)
        (directory / "keys").mkdir(parents=True)
        into = directory / "published"
        _publish(into, directory / "keys", SyntheticSource(plan.files, plan.catalogs, plan.median))
        if plan.revisions > 1:
            _copy_of_links(into / FQRN.name, directory / "rev1")
            _publish(into, directory / "keys", _Revised(plan))
            (into / FQRN.name).rename(directory / "rev2")
        else:
            (into / FQRN.name).rename(directory / "rev1")
            (directory / "rev2").symlink_to("rev1")
        sizes = objects(directory / "rev1")
        count = len(objects(directory / "rev2")) - len(sizes)
        corpus = cls(directory, plan, len(sizes), sum(sizes.values()), count)
        summary.write_text(json.dumps({key: getattr(corpus, key) for key in _COUNTS}))
        return corpus

    def warm(self) -> None:
        """Read everything once, so that the first peer does not pay for all."""
        for directory in (self.revision(2) / "data").iterdir():
            for path in directory.iterdir():
                path.read_bytes()

    def as_json(self) -> dict[str, object]:
        """For machines."""
        return {**asdict(self.plan), **{key: getattr(self, key) for key in _COUNTS}}


_COUNTS = "objects", "size_bytes", "new_objects"


@dataclass(frozen=True, slots=True)
class _Revised:
    """The source of revision 2."""

    plan: Plan

    def entries(self) -> Iterator[SourceEntry]:
        """As `Source.entries`."""
        plan = self.plan
        old = SyntheticSource(plan.files, plan.catalogs, plan.median)
        new = SyntheticSource(plan.files, plan.catalogs, plan.median, changed=1.0)
        for before, after in zip(old.entries(), new.entries(), strict=True):
            name = before.path.rpartition(b"/")[2]
            is_file = name.startswith(b"f")
            yield after if is_file and plan.is_changed(int(name[1:])) else before


def objects(tree: Path) -> dict[str, int]:
    """The stored objects of a repository, with their sizes."""
    return {
        directory.name + entry.name: entry.stat().st_size
        for directory in (tree / "data").iterdir()
        if len(directory.name) == 2
        for entry in os.scandir(directory)
    }


def _publish(into: Path, keys: Path, source: Source) -> None:
    repository = Stratum0Repository(into, FQRN)
    with repository.locked():
        pair = PublisherKeys.load_or_make(keys, FQRN)
        Publication(repository, pair, PublicationOptions()).run(source)


def _copy_of_links(tree: Path, target: Path) -> None:
    """Objects never change, and root files are replaced whole."""
    subprocess.run(["cp", "--recursive", "--link", tree, target], check=True)


def _age_days(path: Path) -> float:
    return (time.time() - path.stat().st_mtime) / _DAY_S
