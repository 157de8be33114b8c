"""How the owner of something is asked for it, and what happens if it does not answer.

Owners stand in an order that is the same for all workers: the one an object belongs to, then the
next one, and so on around. Who cannot be reached is passed over, so that while one worker is gone
its objects have one substitute, and not as many as there are workers.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mirror.serve.resources import Resource
from proxy.cache.disk import DiskTier
from proxy.fetching import Errand, Mirror
from proxy.siblings.flight import AskedFlight
from proxy.siblings.line import SiblingPool
from proxy.siblings.question import Question


@dataclass(frozen=True, slots=True)
class Otherwise:
    """What else becomes of a flight.

    Attributes:
        fetch: brings it from upstream, where no sibling can be asked.
        over: is called when nothing more will come.
    """

    fetch: Callable[[], None]
    over: Callable[[], None]


class Siblings:
    """The workers of this host, as one of them sees the others."""

    def __init__(self, pools: Sequence[SiblingPool], worker: int) -> None:
        """Know who owns what.

        Args:
            pools: connections to each of the workers, in their order.
            worker: which of them we are.
        """
        self._siblings = [Mirror(each) for each in pools]
        self._worker: int | None = worker

    def leave(self) -> None:
        """Own nothing any more: a successor has taken over, and can be asked itself."""
        self._worker = None

    def owners(self, wanted: Resource) -> list[Mirror]:
        """Whom to ask, in this order; nobody where we are to fetch it."""
        count = len(self._siblings)
        first = _number_of(wanted) % count
        order = [(first + step) % count for step in range(count)]
        before_us = order[: order.index(self._worker)] if self._worker is not None else order
        now = asyncio.get_running_loop().time()
        siblings = [self._siblings[each] for each in before_us]
        return [each for each in siblings if each.rests_until <= now]

    @staticmethod
    def ask(
        owners: Sequence[Mirror], flight: AskedFlight, errand: Errand, otherwise: Otherwise
    ) -> None:
        """Ask one after the other for a flight."""
        left = iter(owners)

        def ask_next() -> None:
            sibling = next(left, None)
            if sibling is None:
                flight.forget_owner()
                otherwise.fetch()
                return
            Question(flight, errand, sibling, otherwise.over, ask_next).send()

        ask_next()

    def close(self) -> None:
        """Close all connections."""
        for each in self._siblings:
            each.pool.close()


def _number_of(wanted: Resource) -> int:
    """Decides who owns it: of objects the one who writes them to the disk."""
    if wanted.is_immutable:
        return DiskTier.partition_of(wanted.path.partition("/")[2].encode("ascii"))
    return zlib.crc32(f"{wanted.origin} {wanted.path}".encode())
