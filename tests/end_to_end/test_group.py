"""Three mirrors behind one name, killed, stopped and cut off: no client ever goes back."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Final

import pytest

from tests.support.http_stratum0 import HttpStratum0
from tests.support.keys import Keys
from tests.support.mirror_group import (
    LEASE_S,
    WAIT_S,
    MirrorGroup,
    StrictClient,
    ask,
    version_of,
)
from tests.support.publisher import Repository
from tests.support.trees import TREE, random_revision

IS_SOAK: Final = os.environ.get("CVMFS_MIRROR_SOAK") == "1"
PUBLICATIONS: Final = 50 if IS_SOAK else 6
LOOK_S: Final = 3.0
"""Polling, fetching and a busy machine."""


class Origin:
    """A publisher whose revisions have times of now, and the server in front of it."""

    def __init__(self, keys: Keys) -> None:
        self.repository = Repository(keys)
        self.repository.publish(TREE)
        self.server = HttpStratum0(dict(self.repository.files))
        self.random = Random(7)

    def publish(self) -> None:
        """The next revision, all of it at once."""
        random_revision(self.repository, self.random)
        self.server.files = dict(self.repository.files)

    @property
    def manifest(self) -> bytes:
        """The newest."""
        return self.repository.files[".cvmfspublished"]


@pytest.fixture
def origin(keys: Keys) -> Iterator[Origin]:
    """With one revision."""
    origin = Origin(keys)
    with origin.server:
        yield origin


@pytest.fixture
def group(origin: Origin, keys: Keys, tmp_path: Path) -> Iterator[MirrorGroup]:
    """Three members that serve it."""
    with MirrorGroup(tmp_path, origin.server.url, keys.master_pem) as group:
        group.until_all_give(version_of(origin.manifest))
        yield group


def test_a_flip(origin: Origin, group: MirrorGroup) -> None:
    """All have it soon; a dead one delays no more than stated, and says why it gives nothing."""
    with StrictClient(group, Random(1)) as client:
        origin.publish()
        group.until_all_give(version_of(origin.manifest), within_s=20)
        group.members["c"].kill()
        origin.publish()
        began = time.monotonic()
        while client.seen < version_of(origin.manifest):
            assert time.monotonic() - began < WAIT_S + 1.1 * LEASE_S + LOOK_S + 10
            time.sleep(0.05)
        assert ask(group.members["c"]) is None
    assert client.complaints == []
    assert all(client.answers.values())


def test_alone(group: MirrorGroup) -> None:
    """Who hears from no majority gives nothing, and says so; until it does."""
    links = [link for each in group.members.values() for link in each.links.values()]
    for link in links:
        link.cut()
    deadline = time.monotonic() + 20
    while any(ask(each) is not None for each in group.members.values()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    (repository,) = group.members["a"].status()["repositories"].values()
    assert "has not heard from a majority" in repository["reason"]
    for link in links:
        link.mend()
    while any(ask(each) is None for each in group.members.values()):
        assert time.monotonic() < deadline + 20
        time.sleep(0.05)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_killed_stopped_and_cut_off(origin: Origin, group: MirrorGroup) -> None:
    """Whatever happens to members and links, nobody goes back; and in the end all is well."""
    over, random = threading.Event(), Random(3)
    tormenting = threading.Thread(target=_torment, args=(group, random, over))
    with StrictClient(group, Random(2)) as client, StrictClient(group, Random(4)) as other:
        tormenting.start()
        try:
            for _ in range(PUBLICATIONS):
                origin.publish()
                time.sleep(random.uniform(0.5, 4.0))
        finally:
            over.set()
            tormenting.join()
        group.until_all_give(version_of(origin.manifest))
    assert client.complaints + other.complaints == []
    assert client.seen == version_of(origin.manifest)
    assert all(client.answers.values())


def _torment(group: MirrorGroup, random: Random, over: threading.Event) -> None:
    while not over.wait(random.uniform(0.2, 2.0)):
        member = random.choice(list(group.members.values()))
        match random.randrange(6):
            case 0:
                member.kill()
                over.wait(random.uniform(0, 2 * LEASE_S))
                member.start()
            case 1 if member.is_alive:
                member.send(signal.SIGSTOP)
                over.wait(random.uniform(0, 3 * LEASE_S))
                member.send(signal.SIGCONT)
            case 2:
                random.choice(list(member.links.values())).cut()
            case 3:
                for each in group.members.values():
                    for name, link in each.links.items():
                        if member.name in (each.name, name):
                            link.cut()
            case _:
                _mend(group)
    _mend(group)


def _mend(group: MirrorGroup) -> None:
    for each in group.members.values():
        for link in each.links.values():
            link.mend()
