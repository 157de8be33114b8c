"""``kill -9`` of the daemon and of its workers, at random and under load.

No client gets a wrong byte or an older revision than before, and what was published is served in
the end.
"""

from __future__ import annotations

import http.client
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from random import Random
from typing import Final, Self

import pytest

from mirror.cvmfs.content_hash import ContentHash
from mirror.cvmfs.manifest import Manifest
from mirror.cvmfs.paths import MANIFEST, object_path, parse_object_path
from tests.support.daemons import Daemons, Mirror, Origin
from tests.support.keys import Keys
from tests.support.tasks import until

IS_SOAK: Final = os.environ.get("CVMFS_MIRROR_SOAK") == "1"
SOAK_S: Final = 600.0
ROUNDS: Final = 8
NAME: Final = "test.example.org"


@pytest.fixture(name="daemons")
def fixture_daemons(keys: Keys) -> Iterator[Daemons]:
    """None runs yet."""
    with Daemons(keys) as daemons:
        yield daemons


class Readers:
    """Clients that read the manifest and what it names, over and over; use as a context manager.

    Connections may break, since whoever answers them is killed; bytes may not.
    """

    def __init__(self, mirror: Mirror, origin: Origin, count: int = 3) -> None:
        self.complaints: list[str] = []
        self.read = 0
        self._mirror = mirror
        self._origin = origin
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._go_on) for _ in range(count)]

    def _go_on(self) -> None:
        newest = 0
        while not self._is_over.is_set():
            with suppress(OSError, http.client.HTTPException):
                newest = self._round(newest)

    def _round(self, newest: int) -> int:
        status, raw = self._mirror.get(f"/cvmfs/{NAME}/{MANIFEST}")
        if status != 200:
            self.complaints.append(f"{status} for the manifest")
            return newest
        manifest = Manifest.parse(raw)
        if manifest.revision < newest:
            self.complaints.append(f"revision {manifest.revision} after {newest}")
        known = self._origin.server.files
        assert isinstance(known, dict)
        wanted = [object_path(manifest.root_catalog), *Random(newest).sample(sorted(known), 3)]
        for path in wanted:
            if path.startswith("data/"):
                self._check(path, must_exist=path == wanted[0])
        return max(newest, manifest.revision)

    def _check(self, path: str, *, must_exist: bool) -> None:
        status, body = self._mirror.get(f"/cvmfs/{NAME}/{path}")
        if status == 404 and not must_exist:
            return  # of a revision that is not here yet
        name = parse_object_path(path)
        if status != 200 or ContentHash.of(name.algorithm, body, name.suffix) != name:
            self.complaints.append(f"{status} and {len(body)} bytes for {path}")
        self.read += 1

    def __enter__(self) -> Self:
        for each in self._threads:
            each.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for each in self._threads:
            each.join()


@pytest.mark.soak
@pytest.mark.timeout(SOAK_S * 2 if IS_SOAK else 120)
def test_killed_at_random(daemons: Daemons) -> None:
    """Ten minutes of it in a soak, some rounds otherwise."""
    random = Random(6)
    origin = daemons.repository(NAME)
    mirror = daemons.run([origin])
    until(lambda: mirror.serves(origin))
    ends, rounds = time.monotonic() + SOAK_S, 0
    with Readers(mirror, origin) as readers:
        while time.monotonic() < ends if IS_SOAK else rounds < ROUNDS:
            rounds += 1
            origin.publish(random.randrange(1, 20))
            if random.random() < 0.5:
                until(lambda: _serves(mirror, origin))
            _kill_somebody(mirror, random)
            before = readers.read
            until(lambda: readers.read > before)  # noqa: B023 - not kept
        until(lambda: _serves(mirror, origin))
    assert readers.complaints == []
    _assert_whole(mirror, origin)


def _kill_somebody(mirror: Mirror, random: Random) -> None:
    if random.random() < 0.4:
        mirror.kill()
        mirror.start()  # as systemd does
        return
    children = sorted(mirror.children())
    for process in random.sample(children, min(len(children), random.choice((1, 1, 2)))):
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def _serves(mirror: Mirror, origin: Origin) -> bool:
    with suppress(OSError, http.client.HTTPException):
        return mirror.serves(origin)
    return False


def _assert_whole(mirror: Mirror, origin: Origin) -> None:
    """Everything that the publisher has of this revision is here, byte for byte."""
    last = origin.repository.revisions[-1]
    for path in last.paths:
        assert (mirror.storage / NAME / path).read_bytes() == origin.repository.files[path]
