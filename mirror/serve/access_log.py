"""The access log of a worker, written by a thread of its own.

The event loop only puts records into a queue. The thread makes lines of them and writes them in
small pieces; between two pieces everything else can run. A queue that is full, or a disk that is,
costs records and never a request: `dropped` counts them, and the operator is told.

Rotation: rename the file, then call `reopen` (SIGUSR1 or SIGHUP). Until the thread has opened the
new one, lines go to the renamed one, so none is lost; whoever packs old logs should therefore wait
for the next turn (``delaycompress``).
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from mirror.serve.ledger import Served
from mirror.serve.log_settings import AccessLogSettings
from mirror.serve.log_targets import Target, open_target
from mirror.serve.losses import Losses

MAX_QUEUED: Final = 65_536
"""Records: a second of a worker that does nothing but hits, 30 MB."""
_PORTION: Final = 128
"""Records that become lines at once: a tenth of a millisecond in which nothing else runs."""
_PAUSE_S: Final = 0.0005
"""After each portion, for the event loop, which otherwise answers one request between two of them
(measured: of a hundred requests, the slowest took 8 ms instead of 1.5)."""
_CLOSE_S: Final = 5.0
_log: Final = logging.getLogger(__name__)


class AccessLog:
    """Hears what was served, and writes it down.

    Made in the process that serves: a thread does not come along when a process is forked.
    """

    def __init__(
        self,
        target: Target,
        name: str,
        *,
        max_queued: int = MAX_QUEUED,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin.

        Args:
            target: where lines go; it is closed in the end.
            name: for telling of it.
            max_queued: records that wait for the disk.
            clock: in seconds, for telling of losses once a minute.
        """
        self._target = target
        self._name = name
        self._max_queued = max_queued
        self._losses = Losses(name, clock)
        self._changed = threading.Condition()
        self._batches: deque[tuple[float, Sequence[Served]]] = deque()
        self._queued = 0
        self._is_to_reopen = self._is_to_end = False
        self._thread = threading.Thread(target=self._run, name="access log", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Records that are not in the log, since the beginning."""
        return self._losses.count

    def hear(self, now: float, records: Sequence[Served]) -> None:
        """Have these written down; as `ledger.Hear`, and never waits for the disk."""
        with self._changed:
            room = 0 if self._is_to_end else self._max_queued - self._queued
            kept = records if len(records) <= room else records[:room]
            if kept:
                self._batches.append((now, kept))
                self._queued += len(kept)
                self._changed.notify()
        if len(kept) < len(records):
            self._losses.add(len(records) - len(kept), "they came faster than it could be written")
        else:
            self._losses.tell()

    def reopen(self) -> None:
        """Go on in the file that the path leads to now, as soon as the thread comes to it."""
        with self._changed:
            self._is_to_reopen = True
            self._changed.notify()

    def close(self, wait_s: float = _CLOSE_S) -> None:
        """Write what is still waiting; give up when a disk does not take it in that time."""
        with self._changed:
            self._is_to_end = True
            self._changed.notify()
        self._thread.join(wait_s)
        with self._changed:
            left, self._queued = self._queued, 0
            self._batches.clear()
        if left:
            self._losses.add(left, "there was no time left to write them")
        self._losses.tell(at_last=True)

    # --- in the thread ----------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while self._step():
                pass
        finally:
            self._target.close()

    def _step(self) -> bool:
        """Do the next thing there is to do; False if there will be nothing more."""
        with self._changed:
            self._changed.wait_for(lambda: self._batches or self._is_to_reopen or self._is_to_end)
            is_to_reopen, self._is_to_reopen = self._is_to_reopen, False
            batch = self._batches[0] if self._batches else None
        if is_to_reopen:
            self._reopen()
        if batch is not None:
            self._write(batch)
        return batch is not None or not self._is_to_end

    def _write(self, batch: tuple[float, Sequence[Served]]) -> None:
        """Write a batch; it takes room in the queue until it is written."""
        now, records = batch
        for first in range(0, len(records), _PORTION):
            self._target.write(now, records[first : first + _PORTION], self._losses.add)
            if not self._is_to_end:
                time.sleep(_PAUSE_S)
        with self._changed:
            if self._batches and self._batches[0] is batch:
                self._batches.popleft()
                self._queued -= len(batch[1])

    def _reopen(self) -> None:
        try:
            self._target.reopen()
        except OSError as error:
            reason = error.strerror or str(error)
            _log.error(
                "access log %s: cannot be opened again (%s), so what was open before is written "
                "on; repair that and send the signal once more",
                self._name,
                reason,
            )


def open_access_log(settings: AccessLogSettings) -> AccessLog | None:
    """The log that the settings ask for, if any.

    Raises:
        ConfigError: it cannot be written to.
    """
    target = open_target(settings)
    return None if target is None else AccessLog(target, settings.path or "")


def check_access_log(settings: AccessLogSettings) -> None:
    """Find out whether workers will be able to write it.

    Raises:
        ConfigError: they will not.
    """
    target = open_target(settings)
    if target is not None:
        target.close()
