"""Others who write to the replica, or take its lock away."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from mirror.replication.lock import LOCK_FILE, replica_lock
from tests.support.siege import Siege

_HOLD: Final = """
import fcntl, sys
with open(sys.argv[1], "a") as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def held_by_another(lock: Path) -> Iterator[None]:
    """Another process holds the lock, as cvmfs_server would."""
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, lock], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield
        process.communicate()


def test_held_by_another_process(siege: Siege) -> None:
    """One writer per replica: whoever comes second is told who to look for, and asks nobody."""
    siege.stratum0.requests.clear()
    with held_by_another(siege.site.spool / LOCK_FILE):
        siege.assert_repelled(5, "Locked", LOCK_FILE, "fuser")
    assert siege.stratum0.paths == []
    siege.assert_recovers()


def test_held_by_ourselves(siege: Siege) -> None:
    """Two snapshots of ours exclude each other as well."""
    with replica_lock(siege.site.spool):
        siege.assert_repelled(5, "Locked", "fuser")
    siege.assert_recovers()


def test_unlinked_between_runs(siege: Siege) -> None:
    """cvmfs_server unlinks the lock when it is done; the next one to hold it excludes us again."""
    lock = siege.site.spool / LOCK_FILE
    lock.unlink()
    with held_by_another(lock):
        siege.assert_repelled(5, "Locked", LOCK_FILE)
    lock.unlink()
    siege.assert_recovers()


def test_unlinked_while_we_hold_it(siege: Siege) -> None:
    """A cvmfs_server that waited for a lock unlinked before it takes ours away (#3574)."""
    with replica_lock(siege.site.spool):
        (siege.site.spool / LOCK_FILE).unlink()
        siege.assert_repelled(5, "Locked")
    siege.assert_recovers()


def test_never_unlinked_by_us(siege: Siege) -> None:
    """Whoever waits for the lock waits for the file that everybody else will look at."""
    before = (siege.site.spool / LOCK_FILE).stat().st_ino
    siege.assert_recovers()
    assert (siege.site.spool / LOCK_FILE).stat().st_ino == before
