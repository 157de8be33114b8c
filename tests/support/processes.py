"""What the kernel knows of processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def is_over(process: int) -> bool:
    """Whether it has ended, though perhaps nobody has asked how."""
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return status.rpartition(")")[2].split()[0] in "ZX"


def started(word: str) -> Iterator[int]:
    """Our children that have this word in their command line."""
    for task in Path("/proc/self/task").iterdir():
        for process in (task / "children").read_text().split():
            with suppress(FileNotFoundError, ProcessLookupError):
                if word.encode() in Path(f"/proc/{process}/cmdline").read_bytes():
                    yield int(process)


def most_memory_bytes(process: int) -> int:
    """The most that it ever had."""
    told = Path(f"/proc/{process}/status").read_text().split()
    return int(told[told.index("VmHWM:") + 1]) * 1024


def open_descriptors() -> int:
    """How many we have."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())
