"""The order in which the real program writes, syncs and renames: what a power cut may cost."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest

from tests.support.http_stratum0 import HttpStratum0
from tests.support.keys import Keys
from tests.support.publisher import Repository
from tests.support.reachable import reachable_objects, require_sound, wanted_by
from tests.support.site import Site
from tests.support.system_calls import Call, require_durable_before_visible, traced
from tests.support.trees import CHUNK_BYTES, NEXT_TREE, TREE, many_files

PROGRAM: Final = Path(sys.executable).with_name("cvmfs-mirror")


class Desk:
    """A host on which snapshots are watched."""

    def __init__(self, directory: Path, repository: Repository, stratum0: HttpStratum0) -> None:
        self._repository = repository
        self._stratum0 = stratum0
        self._site = Site(directory, "test.example.org", stratum0.url, repository.keys.master_pem)
        self.root = self._site.root

    def snapshot(self, *options: str) -> list[Call]:
        """Take one, and return what it did."""
        command = [str(PROGRAM), "--config", str(self._site.config), "snapshot", *options]
        exit_code, calls = traced(command)
        assert exit_code == 0
        return calls

    def require_lawful(self, calls: list[Call]) -> set[str]:
        """What a snapshot did was safe at every moment; returns what it made visible."""
        return require_durable_before_visible(calls, self.root, self._wanted_by)

    def _wanted_by(self, path: str) -> set[str]:
        return wanted_by(self.root, path)


@pytest.fixture
def repository(keys: Keys) -> Repository:
    """At its first revision."""
    repository = Repository(keys, chunk_bytes=CHUNK_BYTES)
    repository.publish({**TREE, **many_files(1)}, tag="v1")
    return repository


def test_durable_before_visible_at_every_moment(repository: Repository, quick_path: Path) -> None:
    """In a first snapshot, in a further one, and in one that repairs; in every process."""
    with HttpStratum0(repository.files) as stratum0:
        desk = Desk(quick_path, repository, stratum0)
        named = desk.require_lawful(desk.snapshot())
        assert reachable_objects(desk.root) <= named
        before = reachable_objects(desk.root)
        repository.publish({**NEXT_TREE, **many_files(2)}, tag="v2")
        named = desk.require_lawful(desk.snapshot())
        new = reachable_objects(desk.root) - before
        assert new <= named
        (desk.root / min(new)).unlink()
        desk.require_lawful(desk.snapshot("--repair"))
        require_sound(desk.root)


def test_without_the_syncs_it_would_be_noticed(repository: Repository, quick_path: Path) -> None:
    """Leave out most of them, even one by one, and the law is broken."""
    with HttpStratum0(repository.files) as stratum0:
        desk = Desk(quick_path, repository, stratum0)
        calls = desk.snapshot()
    syncs = [index for index, call in enumerate(calls) if call.name == "syncfs"]
    noticed = []
    for index in syncs:  # of two without anything in between, either is enough
        with suppress(AssertionError):
            desk.require_lawful([*calls[:index], *calls[index + 1 :]])
            continue
        noticed.append(index)
    assert len(noticed) > len(syncs) / 2
    with pytest.raises(AssertionError, match="may be empty after a power cut"):
        desk.require_lawful([call for call in calls if call.name != "syncfs"])
