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
from mirror.upstream.connection import Connection, Dropped
from proxy.destinations import as_origin
from proxy.flight import Flight
from proxy.guarded import Forbidden
from proxy.pool import Pool

_FIRST_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 60.0
_PATIENCE: Final = 3
"""Failures in a row before an upstream is passed over."""
_SMOOTHING: Final = 0.1
_LATE_FACTOR: Final = 4.0
_LATE_LEAST_S: Final = 0.5
_MOST_NAMED: Final = 256
_UNDECLARED_BYTES: Final = 64 * 1024 * 1024
"""Mirrors say how large a file is; who does not has no more than that."""
_LARGE_BYTES: Final = 1024 * 1024
"""What nobody looks at is cut off from that size on; below, the connection is worth more."""
_PAST_CACHES: Final = "Cache-Control: no-cache\r\nPragma: no-cache\r\n"
NAME: Final = "cvmfs-proxy"


class OurFault(UpstreamError):
    """It came, but could not be kept until it was whole."""


def _ours(error: OSError) -> OurFault:
    return OurFault(f"the proxy's disk fails: {error}")


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

    def began(self, seconds: float) -> None:
        """It began to answer after that; whether it does well is known at the end."""
        weight = _SMOOTHING if self.latency_s else 1.0
        self.latency_s += (seconds - self.latency_s) * weight

    def did_well(self, seconds: float | None = None) -> None:
        """It has answered, and began after that."""
        if seconds is not None:
            self.began(seconds)
        self.failures = 0
        self.rests_until = 0.0

    def lied(self) -> None:
        """It gave wrong bytes, and clients have had some of them: it rests after the first time."""
        self.lies += 1
        self.failures = max(self.failures, _PATIENCE - 1)

    def did_badly(self, now: float) -> None:
        """It did not deliver; what fails while it rests began before, and counts no more."""
        self.errors += 1
        if now < self.rests_until:
            return
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
    head: bytes
    max_bytes: int
    sent_at: float
    connection: Connection | None = None
    is_over: bool = False
    has_begun: bool = False
    is_sent_again: bool = False
    is_given_up: bool = False

    @property
    def url(self) -> str:
        return self.mirror.pool.url(self.trip.errand.path)

    @property
    def declared_bytes(self) -> int | None:
        return self.connection.declared_bytes if self.connection is not None else None

    def sent(self, connection: Connection) -> None:
        self.connection = connection

    def began(self) -> None:
        self.has_begun = True
        if self.declared_bytes is None:
            self.max_bytes = min(self.max_bytes, _UNDECLARED_BYTES)
        self.mirror.began(self.trip.fetcher.now() - self.sent_at)
        if not self.is_over:
            self.trip.began(self)
        elif (self.declared_bytes or _LARGE_BYTES) >= _LARGE_BYTES:
            self.give_up()

    def received(self, piece: bytes) -> None:
        if not self.is_over:
            try:
                self.trip.flight.received(piece)
            except OSError as error:
                self.give_up()
                self.trip.failed(self, _ours(error))

    def ended(self) -> None:
        if not self.is_over:
            self.trip.ended(self)

    def failed(self, error: UpstreamError) -> None:
        if self._may_be_sent_again(error):
            self.is_sent_again = True
            self.mirror.pool.send_again(self)
        elif not self.is_over:
            self.trip.failed(self, error)
        elif not (self.is_given_up or isinstance(error, NotFound)):
            self.mirror.did_badly(self.trip.fetcher.now())  # late, and then nothing

    def _may_be_sent_again(self, error: UpstreamError) -> bool:
        """Whether only the connection was to blame: it had been idle, and was closed meanwhile."""
        is_fit = not (self.is_over or self.has_begun or self.is_sent_again)
        return is_fit and isinstance(error, Dropped) and bool(error.answered)

    def lose(self) -> None:
        """Another one began before; what is small may come all the same, and is not looked at."""
        self.is_over = True
        if self.mirror.pool.withdraw(self):
            self.mirror.did_badly(self.trip.fetcher.now())  # not even connected

    def give_up(self) -> None:
        """Take nothing more, soon: a connection is not closed while it tells us something."""
        self.is_over = self.is_given_up = True
        if self.connection is not None:
            self.trip.fetcher.loop.call_soon(self.connection.close)


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
    is_fresh: bool = False

    def next(self) -> bool:
        """Ask one more upstream; False if there is none left."""
        if not self.left:
            return False
        mirror = self.left.pop(0)
        mirror.requests += 1
        now = self.fetcher.now()
        pool = mirror.pool
        path = self.errand.path
        more = _PAST_CACHES if self.errand.is_fresh or self.is_fresh else ""
        head, max_bytes = pool.head(path, more), self.errand.max_bytes
        attempt = _Attempt(self, mirror, head, max_bytes, now)
        self.under_way.append(attempt)
        pool.send(attempt)
        return True

    def began(self, attempt: _Attempt) -> None:
        others = [each for each in self.under_way if each is not attempt]
        self.under_way = [attempt]
        for each in others:
            self.left.append(each.mirror)  # in case that this one stops half way
            each.lose()
        self.flight.begun(attempt.declared_bytes)

    def ended(self, attempt: _Attempt) -> None:
        try:
            self.flight.ended()
        except Corrupted as error:
            attempt.mirror.lied()
            self._ask_past_caches(attempt.mirror)
            self.failed(attempt, error)
        except OSError as error:
            self.failed(attempt, _ours(error))
        else:
            attempt.mirror.did_well()
            self.under_way.clear()
            self.over()

    def _ask_past_caches(self, mirror: Mirror) -> None:
        """Once more at the end, since the lie may be one of a cache on the way there (C.1)."""
        if not (self.is_fresh or self.errand.is_fresh):
            self.is_fresh = True
            self.left.append(mirror)

    def failed(self, attempt: _Attempt, error: UpstreamError) -> None:
        attempt.is_over = True
        if attempt in self.under_way:
            self.under_way.remove(attempt)
        self.errors.append(error)
        if not isinstance(error, NotFound | OurFault):
            attempt.mirror.did_badly(self.fetcher.now())
        # an object is the same everywhere, a root file only where the client wants it from
        is_hopeless = isinstance(error, Forbidden) and self.flight.expected is None
        if self.under_way or (not is_hopeless and self.next()):
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
        self._by_origin = {as_origin(each.pool.origin): each for each in reversed(self.mirrors)}
        self._new = new
        self._named: dict[str, Mirror] = {}
        self._order = order
        self.loop = asyncio.get_running_loop()
        self._trips: set[_Trip] = set()

    def now(self) -> float:
        """Of the event loop."""
        return self.loop.time()

    @property
    def under_way(self) -> int:
        """Flights that are."""
        return len(self._trips)

    def launch(self, flight: Flight, errand: Errand, over: Callable[[], None]) -> None:
        """Bring it home; ``over`` is called when nothing more will come of it."""
        if errand.mirrors is None:
            chosen = self._order(self.mirrors, self.now())
        else:
            chosen = in_order(errand.mirrors, self.now())

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
        named = self._by_origin.get(origin) or self._named.get(origin)
        if named is None:
            named = self._named[origin] = self._new(origin)
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
    for error in errors:
        if isinstance(error, Forbidden):
            return denied(str(error), "destination_ip_prohibited")
    if errors and all(isinstance(error, NotFound) for error in errors):
        return Refusal(404, "Not Found")
    for error in errors:
        if error.status is not None and not isinstance(error, NotFound):
            return Refusal(error.status if error.status >= 500 else 502, str(error))
    kind = "destination_unavailable"
    status = 502
    if any(isinstance(error, TooSlow) for error in errors):
        kind, status = "connection_timeout", 504
    elif any(isinstance(error, OurFault) for error in errors):
        kind = "proxy_internal_error"
    elif any(isinstance(error, Corrupted) for error in errors):
        kind = "http_response_incomplete"
    reason = str(errors[-1]) if errors else "no upstream may be asked for this"
    return Refusal(status, reason, {"Proxy-Status": f"{NAME}; error={kind}"})


def denied(reason: str, kind: str = "http_request_denied") -> Refusal:
    """What somebody is told who may not have that, or not have it from here."""
    return Refusal(403, reason, {"Proxy-Status": f"{NAME}; error={kind}"})
