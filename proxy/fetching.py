"""Brings flights home: asks one upstream after the other, until one has it.

An upstream that fails is passed over for a while, longer each time. Where the first byte is late
another one is asked as well; who begins first is listened to.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from mirror.errors import Corrupted, NotFound, TooSlow, UpstreamError
from mirror.serve.shelf import Refusal
from mirror.upstream.connection import Connection
from proxy.flight import Flight
from proxy.pool import Pool

_FIRST_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 60.0
_PATIENCE: Final = 3
"""Failures in a row before an upstream is passed over."""
_SMOOTHING: Final = 0.1
_LATE_FACTOR: Final = 4.0
_LATE_LEAST_S: Final = 0.5
_MOST_NAMED: Final = 256
_PAST_CACHES: Final = "Cache-Control: no-cache\r\nPragma: no-cache\r\n"
NAME: Final = "cvmfs-proxy"


@dataclass(slots=True, eq=False)
class Mirror:
    """One upstream and how it does.

    Attributes:
        pool: connections to it.
        latency_s: until the first byte, smoothed.
        failures: in a row.
        rests_until: it is not asked before, if others can be.
        lies: wrong bytes delivered.
    """

    pool: Pool
    latency_s: float = 0.0
    failures: int = 0
    rests_until: float = 0.0
    lies: int = 0
    requests: int = 0
    errors: int = 0

    def did_well(self, seconds: float) -> None:
        """It began to answer after that."""
        weight = _SMOOTHING if self.latency_s else 1.0
        self.latency_s += (seconds - self.latency_s) * weight
        self.failures = 0
        self.rests_until = 0.0

    def did_badly(self, now: float) -> None:
        """It did not deliver."""
        self.errors += 1
        self.failures += 1
        if self.failures >= _PATIENCE:
            doubled = _FIRST_PAUSE_S * 2.0 ** min(self.failures - _PATIENCE, 20)
            self.rests_until = now + min(doubled, _LONGEST_PAUSE_S)


def in_order(mirrors: Sequence[Mirror], now: float) -> list[Mirror]:
    """Whom to ask first: as configured, those that rest last."""
    return sorted(mirrors, key=lambda each: each.rests_until > now)


def by_latency(mirrors: Sequence[Mirror], now: float) -> list[Mirror]:
    """Whom to ask first: the quickest; one that nobody knows yet is tried."""
    return sorted(mirrors, key=lambda each: (each.rests_until > now, each.latency_s))


Order = Callable[[Sequence[Mirror], float], list[Mirror]]


@dataclass(frozen=True, slots=True)
class Errand:
    """What to fetch.

    Attributes:
        path: below the upstreams' base URLs.
        max_bytes: more than that is not right.
        is_fresh: ask caches on the way to look again.
        mirrors: to ask instead of all.
    """

    path: str
    max_bytes: int
    is_fresh: bool = False
    mirrors: Sequence[Mirror] | None = None


@dataclass(slots=True, eq=False)
class _Attempt:
    """One request to one upstream; an `Exchange`."""

    trip: _Trip
    mirror: Mirror
    url: str
    head: bytes
    max_bytes: int
    sent_at: float
    connection: Connection | None = None
    is_over: bool = False
    has_begun: bool = False

    @property
    def declared_bytes(self) -> int | None:
        return self.connection.declared_bytes if self.connection is not None else None

    def sent(self, connection: Connection) -> None:
        self.connection = connection

    def began(self) -> None:
        if not self.is_over:
            self.has_begun = True
            self.trip.began(self)

    def received(self, piece: bytes) -> None:
        if not self.is_over:
            self.trip.flight.received(piece)

    def ended(self) -> None:
        if not self.is_over:
            self.trip.ended(self)

    def failed(self, error: UpstreamError) -> None:
        if not self.is_over:
            self.trip.failed(self, error)


@dataclass(slots=True, eq=False)
class _Trip:
    """All attempts to bring one flight home."""

    fetcher: Fetcher
    flight: Flight
    errand: Errand
    left: list[Mirror]
    over: Callable[[], None]
    under_way: list[_Attempt] = field(default_factory=list)
    errors: list[UpstreamError] = field(default_factory=list)
    has_been_hedged: bool = False

    def next(self) -> bool:
        """Ask one more upstream; False if there is none left."""
        if not self.left:
            return False
        mirror = self.left.pop(0)
        mirror.requests += 1
        now = self.fetcher.now()
        pool = mirror.pool
        path = self.errand.path
        more = _PAST_CACHES if self.errand.is_fresh else ""
        head, max_bytes = pool.head(path, more), self.errand.max_bytes
        attempt = _Attempt(self, mirror, pool.url(path), head, max_bytes, now)
        self.under_way.append(attempt)
        pool.send(attempt)
        return True

    def began(self, attempt: _Attempt) -> None:
        attempt.mirror.did_well(self.fetcher.now() - attempt.sent_at)
        for other in self.under_way:
            if other is not attempt:
                other.is_over = True
        self.under_way = [attempt]
        self.flight.begun(attempt.declared_bytes)

    def ended(self, attempt: _Attempt) -> None:
        try:
            self.flight.ended()
        except Corrupted as error:
            attempt.mirror.lies += 1
            self.failed(attempt, error)
            return
        self.under_way.clear()
        self.over()

    def failed(self, attempt: _Attempt, error: UpstreamError) -> None:
        attempt.is_over = True
        if attempt in self.under_way:
            self.under_way.remove(attempt)
        self.errors.append(error)
        if not isinstance(error, NotFound):
            attempt.mirror.did_badly(self.fetcher.now())
        if self.under_way or self.next():
            return
        self.over()
        self.flight.failed(refusal_of(self.errors))

    def look(self, now: float) -> None:
        """Ask another upstream as well, if the first byte is late."""
        if self.has_been_hedged or not self.under_way or not self.left:
            return
        attempt = self.under_way[0]
        late_s = max(_LATE_LEAST_S, _LATE_FACTOR * attempt.mirror.latency_s)
        if not attempt.has_begun and now - attempt.sent_at > late_s:
            self.has_been_hedged = True
            self.next()


class Fetcher:
    """Starts trips and looks after them."""

    def __init__(
        self, mirrors: Sequence[Mirror], new: Callable[[str], Mirror], order: Order = in_order
    ) -> None:
        """Ask these; ``new`` makes one more of ``http://host:port``, where a client may name it."""
        self.mirrors = list(mirrors)
        self._new = new
        self._named: dict[str, Mirror] = {}
        self._order = order
        self._loop = asyncio.get_running_loop()
        self._trips: set[_Trip] = set()

    def now(self) -> float:
        """Of the event loop."""
        return self._loop.time()

    @property
    def under_way(self) -> int:
        """Flights that are."""
        return len(self._trips)

    def launch(self, flight: Flight, errand: Errand, over: Callable[[], None]) -> None:
        """Bring it home; ``over`` is called when nothing more will come of it."""
        mirrors = self.mirrors if errand.mirrors is None else errand.mirrors
        chosen = self._order(mirrors, self.now())

        def ended() -> None:
            self._trips.discard(trip)
            over()

        trip = _Trip(self, flight, errand, chosen, ended)
        self._trips.add(trip)
        if not trip.next():
            ended()
            flight.failed(refusal_of([]))

    def towards(self, origin: str) -> Sequence[Mirror] | None:
        """Whom to ask for what a client wants of a certain server: that one, then the mirrors."""
        if not origin:
            return None
        named = self._named.get(origin)
        if named is None:
            named = next((each for each in self.mirrors if each.pool.origin == origin), None)
            named = named or self._new(origin)
            self._named[origin] = named
            while len(self._named) > _MOST_NAMED:
                self._named.pop(next(iter(self._named))).pool.close()
        return [named, *(each for each in self.mirrors if each is not named)]

    def look(self) -> None:
        """Look after what is late; to be called a few times a second."""
        now = self.now()
        for trip in list(self._trips):
            trip.look(now)

    def close(self) -> None:
        """End everything."""
        for mirror in [*self.mirrors, *self._named.values()]:
            mirror.pool.close()


def refusal_of(errors: Sequence[UpstreamError]) -> Refusal:
    """What a client is told (contract C.2): whose fault it is decides where it asks next.

    What an upstream answered passes through; what is the fault of the way there is the proxy's, and
    says so in ``Proxy-Status`` (RFC 9209).
    """
    if errors and all(isinstance(error, NotFound) for error in errors):
        return Refusal(404, "Not Found")
    for error in errors:
        if error.status is not None and not isinstance(error, NotFound):
            return Refusal(error.status if error.status >= 500 else 502, str(error))
    kind = "destination_unavailable"
    status = 502
    if any(isinstance(error, TooSlow) for error in errors):
        kind, status = "connection_timeout", 504
    elif any(isinstance(error, Corrupted) for error in errors):
        kind = "http_response_incomplete"
    reason = str(errors[-1]) if errors else "no upstream may be asked for this"
    return Refusal(status, reason, {"Proxy-Status": f"{NAME}; error={kind}"})
