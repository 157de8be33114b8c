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

from mirror.store.local import LocalStore
from tests.crashes.conftest import SOAK
from tests.support.http_stratum0 import HttpStratum0
from tests.support.keys import Keys
from tests.support.publisher import Repository, Tree
from tests.support.replicas import Mirror
from tests.support.site import Site

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


def tree(random: Random) -> Tree:
    """Some that stays, some that is new, small and large."""
    small = {f"file {n}": b"%d" % random.randrange(40) for n in range(20)}
    large = {"large": random.randbytes(200_000), "chunks": random.randbytes(400_000)}
    return {"": {"same": b"same"}, "/small": small, "/large": large, "/small/deep": {"x": b"x"}}


class Battlefield:
    """A site, and the Stratum 0 from which it replicates."""

    def __init__(self, directory: Path, keys: Keys, trap: Trap) -> None:
        self.random = Random(42)
        self.trap = trap
        self.repository = Repository(keys, chunk_bytes=150_000)
        trap.files = self.repository.files
        self.site = Site(directory, "test.example.org", trap.url, keys.master_pem)
        root = self.site.root
        self.mirror = Mirror(self.repository, directory, lambda: LocalStore(root))
        self.mirror.root = root
        self.publish()
        assert self.site.run("snapshot") == 0

    def publish(self) -> None:
        """The next revision, every second one with a tag."""
        number = len(self.repository.revisions)
        self.repository.publish(tree(self.random), tag=f"v{number}" if number % 2 else None)

    def kill_one(self) -> int:
        """Run the program, kill it at some moment; returns its exit code."""
        trap, is_held = self.trap, self.random.random() < 0.5
        trap.until = self.random.randint(1, 45)
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
        return one.returncode

    def require_whole(self) -> None:
        """What is served is one of what was published, and complete; so is every catalog."""
        assert self.mirror.objects()
        self.mirror.require_lawful()
        assert 1 <= self.mirror.require_whole() <= len(self.repository.revisions)

    def require_current(self) -> None:
        """The next run finishes, and clears up."""
        assert self.site.run("snapshot") == 0
        self.mirror.require_current()
        self.mirror.require_lawful()


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
