from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mirror import priority
from mirror.priority import Manners
from mirror.replication.lanes import LanePool
from tests.support.loops import run
from tests.support.site import Site
from tests.support.tasks import until

SHOW = """
import ctypes, os, sys, threading
from mirror.priority import _NUMBERS, give_way
assert give_way(sys.argv[1], int(sys.argv[2]))
libc = ctypes.CDLL(None)
ioprio_get = _NUMBERS[os.uname().machine] + 1
show = lambda: print(libc.syscall(ioprio_get, 1, 0), os.nice(0))
show()
thread = threading.Thread(target=show)
thread.start()
thread.join()
"""


def shown(io_priority: str, nice: int) -> list[list[int]]:
    """Class and level, and niceness, of a process and of a thread that it starts then."""
    done = subprocess.run(
        [sys.executable, "-c", SHOW, io_priority, str(nice)],
        capture_output=True,
        text=True,
        check=True,
    )
    return [[int(word) for word in line.split()] for line in done.stdout.splitlines()]


needs_it = pytest.mark.skipif(
    os.uname().machine not in priority._NUMBERS, reason="the system call's number is not known"
)


@needs_it
@pytest.mark.parametrize(
    ("io_priority", "value"), [("best-effort", 2 << 13 | 7), ("idle", 3 << 13)]
)
def test_the_disk_is_left_to_others(io_priority: str, value: int) -> None:
    """By the process and by the threads that do the work."""
    assert [io for io, _ in shown(io_priority, 0)] == [value, value]


@needs_it
def test_processors_are_left_to_others() -> None:
    """By so much more than whoever started us said."""
    before = os.nice(0)
    assert [nice for _, nice in shown("none", 3)] == [min(before + 3, 19)] * 2


def niceness(process: int) -> int:
    """Of its first thread."""
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[16])


def test_lanes_give_way_while_whoever_starts_them_does_not() -> None:
    """The daemon's main thread starts those who serve, too."""
    before = os.nice(0)

    async def main() -> None:
        async with LanePool(1, Manners("best-effort", 3)) as pool:
            lane = await pool.idlest()
            assert lane is not None
            until(lambda: niceness(lane._process.pid) == min(before + 3, 19))

    run(main())
    assert os.nice(0) == before


def test_nothing_is_asked_for() -> None:
    """Then nothing is changed, so it is always possible."""
    assert priority.give_way("none", 0)


class Forbidding:
    """A C library whose kernel says no."""

    def syscall(self, *_arguments: int) -> int:
        """Fail as a sandbox lets it."""
        return -1


def test_where_it_is_forbidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a sandbox, or on a machine whose numbers we do not know; no reason to fail."""
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: Forbidding())
    assert not priority.give_way("idle", 0)
    monkeypatch.setattr(priority, "_NUMBERS", {})
    assert not priority.give_way("idle", 0)


@pytest.mark.parametrize(
    ("line", "is_told"), [("", False), ('[snapshot]\nio_priority = "idle"\n', True)]
)
def test_what_was_asked_for_and_is_not_possible_is_told(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    line: str,
    *,
    is_told: bool,
) -> None:
    """Once, and the snapshot goes on; the default is not worth a word."""
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: Forbidding())
    site = Site(tmp_path, "test.example.org", "http://127.0.0.1:9/cvmfs/test.example.org", b"")
    site.write_config("http://127.0.0.1:9/cvmfs/test.example.org", line)
    assert site.run("snapshot") == 2  # its key is none
    said = capsys.readouterr().err
    assert ("idle is not possible" in said) == is_told
    assert "master.pub" in said
