"""How long to wait before something that ended is started again."""

from __future__ import annotations

from typing import Final

_FIRST_S: Final = 0.5
_LONGEST_S: Final = 30.0
_SOUND_AFTER_S: Final = 60.0


class Backoff:
    """At once the first time; twice as long each time it ends again soon after it was started."""

    def __init__(self) -> None:
        """Nothing has ended yet."""
        self._pause_s = 0.0
        self._ended = float("-inf")

    def pause_s(self, now: float) -> float:
        """It has ended now: how long to wait."""
        since_s = now - self._ended - self._pause_s
        self._ended = now
        if since_s >= _SOUND_AFTER_S:
            self._pause_s = 0.0
        else:
            self._pause_s = min(max(2 * self._pause_s, _FIRST_S), _LONGEST_S)
        return self._pause_s
