"""What tests let workers do: named functions, since a worker is sent the name."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import IO

from mirror.errors import ConfigError, StoreFull
from mirror.stratum0.workers import Workers

_PATIENCE_S = 30


def until(condition: Callable[[], bool]) -> None:
    """Wait for it; only where it does not come is that long."""
    end = time.monotonic() + _PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.005)


def carry_out(task: tuple[str, str]) -> str:
    """A verb and what it is about; answers with the process that did it."""
    verb, about = task
    match verb:
        case "touch":
            Path(about).touch()
        case "await":
            until(Path(about).exists)
        case "tell":
            Path(about).write_text(str(os.getpid()))
            time.sleep(3600)
        case "config error":
            raise ConfigError([about, about])
        case "full":
            raise StoreFull(about)
        case "mistake":
            raise UnsendableError(about, other=1)
        case "signal":
            os.kill(os.getpid(), getattr(signal, about))
    return str(os.getpid())


class UnsendableError(Exception):
    """An exception that pickle cannot make again."""

    def __init__(self, text: str, *, other: int) -> None:
        super().__init__(text)
        self.other = other


def deadly_content() -> IO[bytes]:
    """A file whose reader is killed, as for want of memory."""
    os.kill(os.getpid(), signal.SIGKILL)
    return BytesIO()


def work_for_ever(told: str) -> None:
    """A process with a worker that is long at work; `told` gets the worker's number."""
    for _ in Workers(carry_out, 1).map([(0, ("tell", told))]):
        pass
