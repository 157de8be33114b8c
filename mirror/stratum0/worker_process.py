"""A worker as a process of its own: ``python -P -m mirror.stratum0.worker_process DESCRIPTOR``.

The descriptor is its end of a pipe, over which it is told where modules are, which function to
apply, and then one task after the other. Whoever is at the other end started it: when that end is
closed, or killed, it ends at once, even in the midst of a large file.
"""

from __future__ import annotations

import os
import select
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from threading import Thread
from typing import Any

from mirror.errors import MirrorError

Outcome = tuple[Any, Exception | None]
"""A result, or why there is none."""


def main() -> None:
    """Work until there is nobody to work for."""
    pipe: Connection[Any, Any] = Connection(int(sys.argv[1]))
    Thread(target=_end_with, args=[pipe.fileno()], daemon=True).start()
    with suppress(OSError, EOFError):
        sys.path[:] = pipe.recv()
        function = pipe.recv()
        while True:
            pipe.send(_outcome(function, pipe.recv()))


def _outcome(function: Callable[[Any], Any], task: object) -> Outcome:
    try:
        return function(task), None
    except MirrorError as error:
        return None, error
    except Exception as error:  # noqa: BLE001 - not every error can be pickled, but its text can
        return None, RuntimeError("".join(traceback.format_exception(error)))


def _end_with(descriptor: int) -> None:
    other_end = select.poll()
    other_end.register(descriptor, 0)  # to hear only that it was closed
    other_end.poll()
    os._exit(1)


if __name__ == "__main__":
    main()
