"""From a request to the reply, byte by byte the reference's (contract B.11).

Where the reference would fail, wait, or know nothing, there is an answer all the same; its basis
tells, and caches keep it for five minutes instead of an hour.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Final, NamedTuple

from mirror.geo.atlas import Atlas
from mirror.geo.limits import GeoLimits
from mirror.geo.location import Location
from mirror.geo.names import Names
from mirror.geo.naming import address_of
from mirror.geo.ordering import Order, as_asked, demoted, order
from mirror.geo.request import COUNTER, SEPARATOR, Asker, BadRequest, Query, parse

_GOOD_S: Final = 3600
_BAD_S: Final = 300
IsUnfit = Callable[[str], bool]


class Basis(StrEnum):
    """What an answer was made from."""

    DISTANCE = "distance"
    NO_DATABASE = "no database"
    LATE = "late"
    REFUSED = "refused"


class Reply(NamedTuple):
    """What the client is told.

    Attributes:
        status: of HTTP.
        text: the body.
        max_age_s: how long caches may keep it.
        basis: of the answer.
        until: on the clock of the names; so long the same question has the same answer.
    """

    status: int
    text: str
    max_age_s: int
    basis: Basis
    until: float = 0.0


class Answerer:
    """Answers requests."""

    def __init__(
        self, atlas: Atlas, names: Names, limits: GeoLimits, is_unfit: IsUnfit | None = None
    ) -> None:
        """Answer from what these know.

        Args:
            atlas: of addresses.
            names: of hosts.
            limits: of time, and of look-ups.
            is_unfit: which servers are put behind all others because they are down or stale; the
                reference knows nothing of that.
        """
        self._atlas = atlas
        self._names = names
        self._limits = limits
        self._is_unfit = is_unfit

    async def answer(self, path: str, asker: Asker) -> Reply:
        """The reply to ``/<repository>/<version>/geo/…``, each byte of it one character."""
        try:
            query = parse(path)
            if query.caching == COUNTER:
                return Reply(200, f"{self._names.look_ups}\n", _GOOD_S, Basis.DISTANCE)
            await self._look_up(query, asker)
            return self._reply(query, asker)
        except BadRequest as error:
            return Reply(400, f"Bad Request: {error}\n", _BAD_S, Basis.REFUSED)

    async def _look_up(self, query: Query, asker: Asker) -> None:
        """Learn what can be learned in time; the look-ups go on if that is not enough."""
        budget = self._names.look_ups + self._limits.look_ups_per_request
        waiting = set()
        for name in dict.fromkeys(_names(query, asker)):
            task = self._names.look_up(name)
            if task is not None:
                waiting.add(task)
            if self._names.look_ups >= budget:
                break
        if waiting:
            await asyncio.wait(waiting, timeout=self._limits.answer_s)

    def _reply(self, query: Query, asker: Asker) -> Reply:
        reading = Reading(self._names, asker)
        found = self._order(query, asker, reading)
        basis = Basis.DISTANCE
        if not found.is_known:
            basis = Basis.NO_DATABASE
        elif not reading.is_fresh:
            basis = Basis.LATE
        if self._is_unfit is not None:
            found = demoted(query, found, self._is_unfit)
        text = ",".join(str(each + 1) for each in found.positions)
        max_age_s = _GOOD_S if basis is Basis.DISTANCE else _BAD_S
        return Reply(200, f"{text}\n", max_age_s, basis, reading.until)

    def _order(self, query: Query, asker: Asker, reading: Reading) -> Order:
        client = self.client(query, asker, reading)
        if client is None:
            if self._atlas.databases:
                raise BadRequest("remote addr not found in database")
            return as_asked(query)
        found = order(query, client, reading.host, reading.proxy)
        if not found.is_known and self._atlas.databases:
            raise BadRequest("no server addr found in database")
        return found

    def client(self, query: Query, asker: Asker, reading: Reading) -> Location | None:
        """Where who asks is.

        The caching string first: who names somebody else's proxy in it cannot poison a cache, since
        the answer is right for that proxy.
        """
        location = reading.proxy(query.caching)
        for text in asker.addresses:
            if location is not None:
                break
            address = address_of(text)
            location = None if address is None else self._atlas.location(address)
        return location


class Reading:
    """What was read of the names for one answer.

    Attributes:
        is_fresh: all of it was.
        until: it stays so.
    """

    def __init__(self, names: Names, asker: Asker) -> None:
        self._names = names
        self._is_behind_cdn = asker.is_behind_cdn
        self.is_fresh = True
        self.until = math.inf

    def host(self, name: str) -> Location | None:
        """Where a server is, really: not the front end of a delivery network."""
        if self._is_behind_cdn and not self._names.is_in_table(name):
            return self.proxy(f"ip.{name}") or self.proxy(name)
        return self.proxy(name)

    def proxy(self, name: str) -> Location | None:
        """Where the host of this name is."""
        known = self._names.known(name)
        self.is_fresh = self.is_fresh and self._names.is_fresh(known)
        self.until = min(self.until, known.until)
        return known.location


def _names(query: Query, asker: Asker) -> Iterator[str]:
    """What may have to be looked up, the most important first."""
    yield query.caching
    yield from (each for each in query.servers if each != SEPARATOR)
    if asker.is_behind_cdn:
        yield from (f"ip.{each}" for each in query.hosts)
