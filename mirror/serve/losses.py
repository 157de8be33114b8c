"""Lines that did not get into the access log: counted, and told once a minute.

Serving does not wait for a log. What a disk is too slow or too full for is left out, and the
operator learns how much that was, and why, without a second flood in another log.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

_TOLD_EVERY_S: Final = 60.0
_log: Final = logging.getLogger(__name__)


class Losses:
    """Counts what is lost.

    Any thread may call anything.

    Attributes:
        count: of all that was lost since the beginning.
    """

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        """Of the log of this name; ``clock`` goes in seconds."""
        self.count = 0
        self._name = name
        self._clock = clock
        self._lock = threading.Lock()
        self._told = 0
        self._tell_from = float("-inf")
        self._reason = ""

    def add(self, count: int, reason: str) -> None:
        """So many lines were lost."""
        with self._lock:
            self.count += count
            self._reason = reason
        self.tell()

    def tell(self, *, at_last: bool = False) -> None:
        """Tell what has not been told yet, if a minute has passed, or if this is the end."""
        with self._lock:
            now, untold = self._clock(), self.count - self._told
            if not untold or (now < self._tell_from and not at_last):
                return
            self._told, self._tell_from = self.count, now + _TOLD_EVERY_S
            reason = self._reason
        _log.warning("access log %s: %d requests are not in it: %s", self._name, untold, reason)
