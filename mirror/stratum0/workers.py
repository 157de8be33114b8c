"""An ordered map over processes, each at the end of a pipe of its own.

A worker has one task at a time and keeps nothing. So whatever happens, all of them may be killed;
and one that was killed from outside shows as the end of its pipe, at once. (The standard library's
pool shares its pipes: on Python 3.11 it waits for ever when a worker dies before it has read a
large task.)
"""

from __future__ import annotations

import os
import signal
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context, parent_process, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from threading import Thread
from typing import Final, Generic, TypeVar

from mirror.errors import MirrorError, StoreUnavailable

K = TypeVar("K")
T = TypeVar("T")
R = TypeVar("R")

_AHEAD: Final = 64
"""So many tasks are begun or done while the first of them is waited for."""


@dataclass(frozen=True, slots=True)
class _Worker:
    process: SpawnProcess
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
        for worker in self._workers:
            worker.process.join()
            worker.process.close()
            worker.pipe.close()
        self._workers, self._idle, self._busy = [], [], {}

    # --- inside -----------------------------------------------------------------------------------

    def _is_free(self) -> bool:
        return bool(self._idle) or len(self._workers) < self._count

    def _send(self, number: int, task: T) -> None:
        worker = self._idle.pop() if self._idle else self._started()
        try:
            worker.pipe.send(task)
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
        spawning = get_context("spawn")
        ours, theirs = spawning.Pipe()
        process = spawning.Process(
            target=_work, args=(self._function, theirs), name="packer", daemon=True
        )
        with theirs, _interrupts_held():
            process.start()
        worker = _Worker(process, ours)
        self._workers.append(worker)
        return worker


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """What is started here never hears of Ctrl-C; we do, a moment later."""
    resource_tracker.ensure_running()  # starting a process would, and let signals through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _killed(worker: _Worker) -> StoreUnavailable:
    worker.process.join()
    return StoreUnavailable(
        f"a process that packs contents ended, with exit code {worker.process.exitcode} (a signal "
        "if negative), before it was done: the kernel's log tells if memory ran out; what was "
        "published is as it was: publish again"
    )


def _work(function: Callable[[T], R], pipe: Connection) -> None:
    """What a worker does, until there is nobody to work for."""
    Thread(target=_end_with_parent, daemon=True).start()
    with suppress(OSError, EOFError):
        while True:
            pipe.send(_outcome(function, pipe.recv()))


def _outcome(function: Callable[[T], R], task: T) -> tuple[R | None, Exception | None]:
    try:
        return function(task), None
    except MirrorError as error:
        return None, error
    except Exception as error:  # noqa: BLE001 - not every error can be pickled, but its text can
        return None, RuntimeError("".join(traceback.format_exception(error)))


def _end_with_parent() -> None:
    """In the midst of a large file too."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
