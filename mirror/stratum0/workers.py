"""An ordered map over processes, each at the end of a pipe of its own.

A worker has one task at a time and keeps nothing. So whatever happens, all of them may be killed;
and one that was killed from outside shows as the end of its pipe, at once. (The standard library's
pool shares its pipes: on Python 3.11 it waits for ever when a worker dies before it has read a
large task.)
"""

from __future__ import annotations

import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe, wait
from typing import Final, Generic, TypeVar

from mirror.errors import StoreUnavailable

K = TypeVar("K")
T = TypeVar("T")
R = TypeVar("R")

_AHEAD: Final = 64
"""So many tasks are begun or done while the first of them is waited for."""


@dataclass(frozen=True, slots=True)
class _Worker:
    process: subprocess.Popen[bytes]
    pipe: Connection


class Workers(Generic[T, R]):
    """Processes that apply one function; none is started before there is a task for it."""

    def __init__(self, function: Callable[[T], R], count: int) -> None:
        """Use ``function``, which can be pickled, in at most so many processes."""
        self._function = function
        self._count = count
        self._workers: list[_Worker] = []
        self._idle: list[_Worker] = []
        self._busy: dict[Connection, tuple[_Worker, int]] = {}

    def map(self, tasks: Iterable[tuple[K, T]]) -> Iterator[tuple[K, R]]:
        """Each key with what the function made of its task, in their order.

        Tasks are asked for as workers are free for them.

        Raises:
            MirrorError: the function raised it.
            RuntimeError: the function raised something else.
            StoreUnavailable: a worker was killed.
        """
        keys: deque[K] = deque()
        done: dict[int, R] = {}
        first = 0
        for number, (key, task) in enumerate(tasks):
            while not self._is_free() or (len(keys) >= _AHEAD and first not in done):
                self._receive(done)
            keys.append(key)
            self._send(number, task)
            while first in done:
                yield keys.popleft(), done.pop(first)
                first += 1
        while keys:
            while first not in done:
                self._receive(done)
            yield keys.popleft(), done.pop(first)
            first += 1

    def close(self) -> None:
        """End all workers, whatever they are at."""
        for worker in self._workers:
            worker.process.kill()
            worker.process.wait()
            worker.pipe.close()
        self._workers, self._idle, self._busy = [], [], {}

    # --- inside -----------------------------------------------------------------------------------

    def _is_free(self) -> bool:
        return bool(self._idle) or len(self._workers) < self._count

    def _send(self, number: int, task: T) -> None:
        first_words = () if self._idle else (sys.path, self._function)
        worker = self._idle.pop() if self._idle else self._started()
        try:
            for message in (*first_words, task):
                worker.pipe.send(message)
        except OSError as error:
            raise _killed(worker) from error
        self._busy[worker.pipe] = worker, number

    def _receive(self, done: dict[int, R]) -> None:
        """Wait for one result at least."""
        for pipe in wait(list(self._busy)):
            assert isinstance(pipe, Connection)
            worker, number = self._busy.pop(pipe)
            try:
                result, error = pipe.recv()
            except (OSError, EOFError) as lost:
                raise _killed(worker) from lost
            if error is not None:
                raise error
            done[number] = result
            self._idle.append(worker)

    def _started(self) -> _Worker:
        ours, theirs = Pipe()
        number = theirs.fileno()
        with theirs:
            process = subprocess.Popen(  # noqa: S603 - ourselves
                [sys.executable, "-P", "-m", "mirror.stratum0.worker_process", str(number)],
                stdin=subprocess.DEVNULL,
                pass_fds=[number],
                start_new_session=True,  # Ctrl-C is for us, and we end them
            )
        worker = _Worker(process, ours)
        self._workers.append(worker)
        return worker


def _killed(worker: _Worker) -> StoreUnavailable:
    code = worker.process.wait()
    return StoreUnavailable(
        f"a process that packs contents ended, with exit code {code} (a signal if negative), "
        "before it was done: the kernel's log tells if memory ran out; what was published is as "
        "it was: publish again"
    )
