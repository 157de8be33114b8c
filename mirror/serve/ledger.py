"""What was served: counted at once, told in pieces.

Counters are plain numbers in memory that the supervisor shares with its workers, so that what a
worker has counted stays counted when it dies. Records of single requests are gathered and handed
over a few times a second: writing a log costs the hot path nothing but an `append`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from mirror.serve.content import Outcome
from mirror.serve.plain import Headers
from mirror.serve.resources import Kind

KINDS: Final = tuple(Kind)
OUTCOMES: Final = tuple(Outcome)
COUNTERS: Final = 2 * len(KINDS) * len(OUTCOMES)
"""Numbers in a ledger: requests and bytes, for each kind and outcome."""


def position(kind: Kind, outcome: Outcome) -> int:
    """Where the requests of this kind and outcome are counted; their bytes come next."""
    return 2 * (KINDS.index(kind) * len(OUTCOMES) + OUTCOMES.index(outcome))


class Served(NamedTuple):
    """One request that was answered.

    Attributes:
        peer: address of the client.
        line: request line as it came.
        headers: what logs want of its headers.
        status: of the answer.
        body_bytes: sent, or handed to the kernel at least.
        outcome: how.
        kind: of what.
        seconds: from request to the last byte; 0 where it was too short to be measured.
        is_whole: all of the answer could be sent.
    """

    peer: str
    line: bytes
    headers: Headers
    status: int
    body_bytes: int
    outcome: Outcome
    kind: Kind
    seconds: float
    is_whole: bool


Hear = Callable[[float, Sequence[Served]], None]
"""Takes records, in their order, and the time (seconds since 1970) at which they were gathered."""


class Ledger:
    """Counts requests, and hands records on."""

    def __init__(self, counters: memoryview, hear: Hear | None = None) -> None:
        """Count into ``counters``, ``COUNTERS`` unsigned numbers of 64 bits; nobody may hear."""
        self._counters = counters
        self._hear = hear
        self._positions = {
            (kind, outcome): position(kind, outcome) for kind in KINDS for outcome in OUTCOMES
        }
        self._records: list[Served] = []

    def add(self, served: Served) -> None:
        """One more request was answered."""
        at = self._positions[served.kind, served.outcome]
        self._counters[at] += 1
        self._counters[at + 1] += served.body_bytes
        if self._hear is not None:
            self._records.append(served)

    def hand_over(self, now: float) -> None:
        """Tell what was gathered since the last time."""
        if self._hear is not None and self._records:
            records, self._records = self._records, []
            self._hear(now, records)
