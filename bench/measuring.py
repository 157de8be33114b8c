"""What one run of a program costs, and how much of the machine others took meanwhile.

Processor time is that of the program and of every process it waited for, as the kernel adds it up.
Memory is the most that all its processes together had at one moment: the sum of each one's own peak
(VmHWM), looked at fifty times a second, and more often at first. Pages that processes share count
once for each, so a peer of several processes is made to look larger than it is, never smaller.
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import IO, Self

Command = Sequence[str | Path]

_EVERY_S = 0.02
_EARLY_S, _EARLY_LOOKS = 0.002, 50
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Measure:
    """What one run cost.

    Attributes:
        wall_s: from its start to its end.
        synced_s: what a sync took after that.
        cpu_s: user and system.
        peak_mib: of all its processes.
        servers_cpu_s: what the origin and the link used meanwhile.
        others_cores: busy with something else, on average.
        was_given_up: it took too long, and these figures are its least.
    """

    wall_s: float
    synced_s: float
    cpu_s: float
    peak_mib: float
    servers_cpu_s: float
    others_cores: float
    was_given_up: bool = False


def measured(
    command: Command, place: Path, servers: Sequence[int] = (), patience_s: float = 3600.0
) -> Measure:
    """Run a program that begins with nothing unwritten on the file system of ``place``."""
    sync(place)
    with tempfile.TemporaryFile() as errors:
        all_s, own_s, servers_s = busy_s(), time.process_time(), cpu_s(servers)
        ended = _run(command, errors, patience_s)
        all_s, own_s = busy_s() - all_s, time.process_time() - own_s
        servers_s = cpu_s(servers) - servers_s
        was_given_up = ended.code == -signal.SIGKILL and ended.wall_s >= patience_s
        if ended.code and not was_given_up:
            errors.seek(0)
            sys.exit(f"{command} ended with {ended.code}\n{errors.read().decode()}")
    others_s = max(0.0, all_s - own_s - servers_s - ended.cpu_s)
    return Measure(
        wall_s=ended.wall_s,
        synced_s=sync(place),
        cpu_s=ended.cpu_s,
        peak_mib=ended.peak_kib / 1024,
        servers_cpu_s=servers_s,
        others_cores=others_s / ended.wall_s,
        was_given_up=was_given_up,
    )


def sync(place: Path) -> float:
    """Write what is unwritten on a file system; says how long that took."""
    began = time.perf_counter()
    subprocess.run(["sync", "--file-system", place], check=True)
    return time.perf_counter() - began


def medians(measures: Sequence[Measure]) -> Measure:
    """Of each figure by itself."""
    figures = {
        field.name: statistics.median(getattr(each, field.name) for each in measures)
        for field in fields(Measure)
        if field.name != "was_given_up"
    }
    return Measure(**figures, was_given_up=any(each.was_given_up for each in measures))


@dataclass(frozen=True, slots=True)
class _Ended:
    code: int
    wall_s: float
    cpu_s: float
    peak_kib: int


def _run(command: Command, errors: IO[bytes], patience_s: float) -> _Ended:
    began = time.perf_counter()
    program = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=errors, start_new_session=True
    )
    with _Memory(program.pid) as memory, _patience(program.pid, patience_s):
        _, status, used = os.wait4(program.pid, 0)
        wall_s = time.perf_counter() - began
    program.returncode = os.waitstatus_to_exitcode(status)
    return _Ended(program.returncode, wall_s, used.ru_utime + used.ru_stime, memory.peak_kib)


@contextmanager
def _patience(pid: int, limit_s: float) -> Iterator[None]:
    """Kill a program and all that it started after so long, or when we are interrupted."""
    timer = threading.Timer(limit_s, os.killpg, (pid, signal.SIGKILL))
    timer.start()
    try:
        yield
    except BaseException:
        os.killpg(pid, signal.SIGKILL)
        raise
    finally:
        timer.cancel()


class _Memory:
    """Looks at a process and all below it until told to stop."""

    def __init__(self, pid: int) -> None:
        self.peak_kib = 0
        self._pid = pid
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _look(self) -> None:
        looks = 0
        while not self._is_over.wait(_EVERY_S if looks > _EARLY_LOOKS else _EARLY_S):
            self.peak_kib = max(self.peak_kib, sum(map(_peak_kib, _family(self._pid))))
            looks += 1


def _family(pid: int) -> Iterator[int]:
    """A process and all below it, as far as they are still there."""
    yield pid
    with suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            for child in (thread / "children").read_text().split():
                yield from _family(int(child))


def _peak_kib(pid: int) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    return 0


def cpu_s(pids: Sequence[int]) -> float:
    """User and system time of servers and all below them."""
    ticks = 0
    for server in pids:
        for pid in _family(server):
            stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(stat[11]) + int(stat[12])
    return ticks / _TICKS


def busy_s() -> float:
    """What all processors together did since the machine started, its hypervisor's theft too."""
    line = Path("/proc/stat").read_text().partition("\n")[0].split()
    user, nice, system, _idle, _waiting, irq, softirq, stolen = map(int, line[1:9])
    return (user + nice + system + irq + softirq + stolen) / _TICKS
