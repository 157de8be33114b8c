"""How many requests to have under way: grow while it pays, shrink when it hurts.

The right number is the path's bandwidth times its round trip over the size of an object: a handful
on loopback, hundreds across an ocean. Nobody configures it right, so it is found by trying: as long
as more requests bring more, there are more; those that bring nothing are taken back, and failures
bring it down at once. No clock and no loop in here: what happened goes in, the limit comes out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_OBJECT_COST_BYTES: Final = 16 * 1024
"""What a request costs beside its bytes, so that tiny objects and large ones compare."""
_FIRST_GROWTH: Final = 2.0
"""Until growth has once brought nothing, or harm; as TCP begins."""
_GROWTH: Final = 1.5
_SHRINKAGE: Final = 0.7
_WORTH_IT: Final = 1.05
_FORGETTING: Final = 0.98
"""A best rate fades, so that after a bad hour growth is tried again."""
_MIN_WINDOW_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class ConcurrencyRange:
    """Where to begin, and between which bounds to stay."""

    initial: int = 16
    lowest: int = 2
    highest: int = 256


class AdaptiveLimit:
    """The limit, revised once per window; a window is as many answers as the limit."""

    def __init__(self, bounds: ConcurrencyRange) -> None:
        self._bounds = bounds
        self._limit = float(min(max(bounds.initial, bounds.lowest), bounds.highest))
        self._best_rate = 0.0
        self._best_limit = self._limit
        self._growth = _FIRST_GROWTH
        self._begin(None)

    @property
    def value(self) -> int:
        """How many may be under way now."""
        return int(self._limit)

    def record(
        self, now_s: float, received_bytes: int, *, is_failure: bool, is_tight: bool = True
    ) -> None:
        """Take note of an answer, or of a failure that more load would make worse.

        Args:
            now_s: when.
            received_bytes: of the answer.
            is_failure: it was one.
            is_tight: others wait because of the limit. Where hardly anybody does, a higher one
                would have brought nothing, and that says nothing about it.
        """
        if self._began_s is None:
            self._begin(now_s)
            return
        self._answers += 1
        self._failures += is_failure
        self._tight += is_tight
        self._work += received_bytes + _OBJECT_COST_BYTES
        elapsed_s = now_s - self._began_s
        if self._answers >= self._limit and elapsed_s >= _MIN_WINDOW_S:
            if self._failures or self._tight >= self._answers / 2:
                self._revise(self._work / elapsed_s)
            self._begin(now_s)

    def _begin(self, now_s: float | None) -> None:
        self._began_s = now_s
        self._answers = 0
        self._failures = 0
        self._tight = 0
        self._work = 0

    def _revise(self, rate: float) -> None:
        if self._failures:
            self._growth = _GROWTH
            self._limit = max(self._bounds.lowest, self._limit * _SHRINKAGE)
            self._best_rate = 0.0
        elif rate > self._best_rate * _WORTH_IT:
            self._best_rate, self._best_limit = rate, self._limit
            self._limit = min(self._bounds.highest, self._limit * self._growth)
        else:
            self._growth = _GROWTH
            self._limit = self._best_limit  # growth that brought nothing is taken back
            self._best_rate *= _FORGETTING
