"""A flight that a sibling brings: what it says of the bytes goes with them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from mirror.serve.content import Found, Outcome
from mirror.serve.shelf import Outcome as Told
from mirror.serve.shelf import Tell
from proxy.flight import Flight

_SPARED: Final = frozenset({Outcome.MISS, Outcome.COALESCED})


class AskedFlight(Flight):
    """One that is on its way through the worker that owns it.

    Attributes:
        outcome: how the owner came by it; a miss where nobody could be asked.
        age: how long the owner has had it, in seconds; None likewise.
    """

    outcome = Outcome.MISS
    age: int | None = None

    def follow(self, tell: Tell) -> Callable[[], None]:
        """As `Flight.follow`; hit rates of the host are those of the owners."""
        is_wanted = True

        def heard(told: Told) -> None:
            if is_wanted:  # else it was handed over, and given up there
                tell(self._as_told(told))

        cancel = super().follow(heard)

        def leave() -> None:
            nonlocal is_wanted
            is_wanted = False
            cancel()

        return leave

    def hand_over(self, other: Flight) -> bool:
        """Let all who wait follow another one; False if some have begun to get this one."""
        if self._stream is not None:
            return False
        telling, self._telling = self._telling, []
        for each in telling:
            other.follow(each)
        return True

    def told_by_owner(self, outcome: Outcome, age: int) -> None:
        """The owner answers, and says so much of it."""
        self.outcome, self.age = outcome, age

    def forget_owner(self) -> None:
        """Nobody could be asked."""
        self.outcome, self.age = Outcome.MISS, None

    def _as_told(self, told: Told) -> Told:
        if not isinstance(told, Found) or told.outcome not in _SPARED:
            return told
        if self.outcome in _SPARED and told.outcome is Outcome.COALESCED:
            return told
        return replace(told, outcome=self.outcome)
