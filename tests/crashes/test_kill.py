"""Kill the real program at any moment: what is served is complete, and the next run finishes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from random import Random
from typing import Final

import pytest

from mirror.cvmfs.paths import object_path
from mirror.store.local import LocalStore
from tests.crashes.conftest import SOAK
from tests.support.http_stratum0 import HttpStratum0
from tests.support.keys import Keys
from tests.support.publisher import Repository
from tests.support.reachable import require_sound
from tests.support.replicas import Mirror
from tests.support.site import Site
from tests.support.trees import random_revision

ROUNDS: Final = 200 if os.environ.get(SOAK) else 15
PROGRAM: Final = Path(sys.executable).with_name("cvmfs-mirror")


class Trap(HttpStratum0):
    """A Stratum 0 that tells when so many files were asked for.

    Attributes:
        until: how many more it takes.
        is_time: set then.
        may_go_on: whether the last of them is answered.
    """

    def __init__(self) -> None:
        super().__init__({})
        self.until = 0
        self.is_time = threading.Event()
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def _content(self, path: str) -> bytes | None:
        self.until -= 1
        if self.until == 0:
            self.is_time.set()
            self.may_go_on.wait()
        return super()._content(path)


class Battlefield:
    """A site, and the Stratum 0 from which it replicates.

    Attributes:
        fetched_twice: how many objects were, since a kill came between them and their names.
    """

    def __init__(self, directory: Path, keys: Keys, trap: Trap) -> None:
        self.fetched_twice = 0
        self.random = Random(42)
        self.trap = trap
        self.repository = Repository(keys, chunk_bytes=150_000)
        trap.files = self.repository.files
        self.site = Site(directory, "test.example.org", trap.url, keys.master_pem)
        root = self.site.root
        self.mirror = Mirror(self.repository, directory, lambda: LocalStore(root))
        self.mirror.root = root
        self._in_flight: set[str] = set()
        self._stored: set[str] = set()
        self.publish()
        assert self.site.run("snapshot") == 0

    def publish(self) -> None:
        """The next revision of a history that nobody planned."""
        random_revision(self.repository, self.random)

    def kill_one(self, after: int | None = None) -> int:
        """Run the program, kill it at some moment, or after so many requests; its exit code."""
        trap, is_held = self.trap, after is not None or self.random.random() < 0.5
        trap.until = after or self.random.randint(1, 45)
        trap.requests.clear()
        trap.is_time.clear()
        if is_held:
            trap.may_go_on.clear()
        command = [str(PROGRAM), "--config", str(self.site.config), "snapshot"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as one:
            while not trap.is_time.wait(0.05) and one.poll() is None:
                pass  # it may also end well before
            time.sleep(0 if is_held else self.random.random() * 0.03)
            one.kill()
            trap.may_go_on.set()
            one.communicate()
        trap.until = 0
        self.require_little_lost()
        return one.returncode

    def require_little_lost(self) -> None:
        """Nothing was fetched again but what was in flight when a run was killed."""
        asked = {path for path in self.trap.paths if path.startswith("data/")}
        held = {object_path(each) for each in self.mirror.objects()}
        self.fetched_twice += len(asked & self._in_flight)
        stored, self._stored = self._stored, held
        assert not asked & stored
        self._in_flight = asked - held

    def require_whole(self) -> None:
        """What is served is one of what was published, and complete; so is every catalog."""
        assert self.mirror.objects()
        self.mirror.require_lawful()
        assert 1 <= self.mirror.require_whole() <= len(self.repository.revisions)
        require_sound(self.site.root)

    def require_current(self) -> None:
        """The next run finishes, and clears up."""
        self.trap.requests.clear()
        assert self.site.run("snapshot") == 0
        self.require_little_lost()
        assert not self._in_flight
        self.mirror.require_current()
        self.mirror.require_lawful()
        require_sound(self.site.root)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_killed_at_any_moment(keys: Keys, quick_path: Path) -> None:
    """Also several times in a row, before anything is finished."""
    with Trap() as trap:
        field = Battlefield(quick_path, keys, trap)
        exit_codes = []
        for _ in range(ROUNDS):
            field.publish()
            for _ in range(field.random.choice([1, 1, 2])):
                exit_codes.append(field.kill_one())
                field.require_whole()
            field.require_current()
        assert -signal.SIGKILL in exit_codes
        assert set(exit_codes) <= {0, -signal.SIGKILL}
        assert field.fetched_twice > 0  # else nothing was in flight, and nothing was tried


FILES: Final = 3000
KILLED_AFTER: Final = 2500
IN_FLIGHT: Final = 1024
"""As many as may be under way at once, be it on the network or before their commit."""


def test_what_came_before_a_kill_is_kept(keys: Keys, quick_path: Path) -> None:
    """Of many objects only those in flight are fetched twice."""
    with Trap() as trap:
        field = Battlefield(quick_path, keys, trap)
        files = {f"file {n}": b"number %d" % n for n in range(FILES)}
        field.repository.publish({"": {}, "/many": files})
        assert field.kill_one(KILLED_AFTER) == -signal.SIGKILL
        field.require_whole()
        field.require_current()
        assert field.fetched_twice <= IN_FLIGHT
