"""One request to one sibling."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from mirror.errors import Corrupted, UpstreamError
from mirror.upstream.connection import Connection, Dropped
from proxy.fetching import Errand, Mirror
from proxy.siblings.flight import AskedFlight
from proxy.siblings.line import SiblingConnection
from proxy.siblings.words import Said, age_in, outcome_in, refusal_in, request

_TRIES: Final = 3
"""On connections that were closed meanwhile: a successor may have taken over."""


class Question:
    """See above; it is `Sent`. Ends with one call of ``over``, or of ``otherwise``."""

    def __init__(
        self,
        flight: AskedFlight,
        errand: Errand,
        sibling: Mirror,
        over: Callable[[], None],
        otherwise: Callable[[], None],
    ) -> None:
        """Not asked yet.

        Args:
            flight: is brought home.
            errand: what to ask for.
            sibling: whom.
            over: is called before the flight hears its end.
            otherwise: is called where the sibling does not answer, or wrongly.
        """
        self.url = sibling.pool.url(flight.wanted.path)
        self.head = request(flight.wanted, is_fresh=errand.is_fresh)
        self.max_bytes = errand.max_bytes
        self._flight = flight
        self._sibling = sibling
        self._over = over
        self._otherwise = otherwise
        self._loop = asyncio.get_running_loop()
        self._sent_at = self._loop.time()
        self._connection: SiblingConnection | None = None
        self._has_begun = self._is_spoiled = False
        self._tries = _TRIES

    def send(self) -> None:
        """Ask."""
        self._sibling.requests += 1
        self._sibling.pool.send(self)

    # --- as `Sent` --------------------------------------------------------------------------------

    def sent(self, connection: Connection) -> None:
        """It is on its way."""
        assert isinstance(connection, SiblingConnection)
        self._connection = connection

    def began(self) -> None:
        """The owner has it, or gets it."""
        assert self._connection is not None
        self._has_begun = True
        self._sibling.did_well(self._loop.time() - self._sent_at)
        self._flight.told_by_owner(outcome_in(self._said), age_in(self._said))
        self._flight.begun(self._connection.declared_bytes)

    def received(self, piece: bytes) -> None:
        """Some of it; nothing more where our own disk fails."""
        if self._is_spoiled:
            return
        try:
            self._flight.received(piece)
        except OSError:
            self._is_spoiled = True
            assert self._connection is not None
            self._loop.call_soon(self._connection.close)  # not while it reads

    def ended(self) -> None:
        """All of it; what is wrong is fetched elsewhere."""
        if self._is_spoiled:
            self._otherwise()
            return
        try:
            self._flight.ended()
        except Corrupted:
            self._sibling.lies += 1
            self._sibling.did_badly(self._loop.time())
            self._otherwise()
        except OSError:  # our own disk
            self._otherwise()
        else:
            self._over()

    def failed(self, error: UpstreamError) -> None:
        """The owner refuses, or is not there."""
        refusal = None if self._has_begun else refusal_in(self._said, error.status)
        if refusal is not None:
            self._sibling.did_well()
            self._over()
            self._flight.failed(refusal)
        elif isinstance(error, Dropped) and not self._has_begun and self._tries:
            self._tries -= 1
            self._connection = None
            self._sibling.pool.send_again(self)
        else:
            if not self._is_spoiled:
                self._sibling.did_badly(self._loop.time())
            self._otherwise()

    @property
    def _said(self) -> Said:
        return self._connection.said if self._connection is not None else {}
