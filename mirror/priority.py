"""How much a snapshot gives way to everything else on this host, above all to serving.

The kernel keeps this for each thread, and a new thread or process takes after whoever starts it. So
``cvmfs-mirror snapshot`` gives way as a whole, before it starts anything; the daemon, whose main
thread starts those who serve, has only its other threads give way, and the lanes.
"""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass
from typing import Final

_NUMBERS: Final = {"x86_64": 251, "aarch64": 30, "riscv64": 30, "ppc64le": 273, "s390x": 282}
"""Of ioprio_set(2), which no C library wraps."""
_THIS_PROCESS: Final = 1
_CLASS_SHIFT: Final = 13
_BEST_EFFORT: Final = (2 << _CLASS_SHIFT) | 7
"""The last in the class that everybody is in."""
_IDLE: Final = 3 << _CLASS_SHIFT
_VALUES: Final = {"best-effort": _BEST_EFFORT, "idle": _IDLE}


@dataclass(frozen=True, slots=True)
class Manners:
    """How much to give way.

    Attributes:
        io_priority: as in `give_way`,
        nice: and likewise.
    """

    io_priority: str = "none"
    nice: int = 0

    def show(self) -> None:
        """Give way from now on, as far as that is possible: this thread, and what it starts."""
        give_way(self.io_priority, self.nice)


def give_way(io_priority: str, nice: int) -> bool:
    """Lower this thread and all that it starts; returns whether everything was possible.

    Args:
        io_priority: ``none`` leaves it as it is; ``best-effort`` is served last of the usual ones,
            ``idle`` only when nobody else wants the disk. It takes a scheduler that knows of it.
        nice: added to the niceness on the processors.
    """
    value = _VALUES.get(io_priority)
    is_possible = value is None or _ioprio_set(value)
    if nice:
        os.nice(nice)
    return is_possible


def _ioprio_set(value: int) -> bool:
    number = _NUMBERS.get(os.uname().machine)
    if number is None:
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    return bool(libc.syscall(number, _THIS_PROCESS, 0, value) == 0)
