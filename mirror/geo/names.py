"""Host names to locations: cached, bounded, and nobody waits for long.

    known at once ── the operator's table, addresses, what cannot be a name
    cached ───────── up to 300 s, failures too, as in the reference
    too old ──────── who comes first waits for the new look-up, a little; the others take the old
    unknown ──────── everybody waits for the one look-up, a little; when that was in vain, nobody

A look-up that fails leaves the old location in use. One that takes too long goes on behind the back
of whoever waited for it, so that the next one finds its result.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from mirror.geo.atlas import Atlas
from mirror.geo.limits import GeoLimits
from mirror.geo.location import Location
from mirror.geo.naming import address_of, is_host_name, is_worth_a_look
from mirror.geo.resolver import Busy, Resolve


class Known(NamedTuple):
    """What is known of a name now.

    Attributes:
        location: where its host is; None if nobody knows.
        until: on the clock; then it has to be looked up anew. 0 for what was not looked up yet.
        addresses: what was resolved.
    """

    location: Location | None
    until: float
    addresses: tuple[str, ...] = ()


class _Entry(NamedTuple):
    """A `Known`, and of which generation of the atlas."""

    known: Known
    generation: int


class _Flight(NamedTuple):
    """A look-up under way."""

    task: asyncio.Task[None]
    began: float


_UNKNOWN: Final = Known(None, 0.0)
_NO_NAME: Final = Known(None, math.inf)


class Names:
    """Knows where hosts are, by their names."""

    def __init__(
        self, atlas: Atlas, resolve: Resolve, clock: Callable[[], float], limits: GeoLimits
    ) -> None:
        """Know nothing yet; ``clock`` gives seconds that never go back."""
        self._atlas = atlas
        self._resolve = resolve
        self._clock = clock
        self._limits = limits
        self._entries: dict[str, _Entry] = {}
        self._flights: dict[str, _Flight] = {}
        self.look_ups = 0
        """Begun so far."""

    def known(self, name: str) -> Known:
        """What is known now, however old."""
        place = self._atlas.table.of_name(name)
        if place is not None:
            return Known(place.location, math.inf)
        address = address_of(name) if is_worth_a_look(name) else None
        if address is not None:
            return Known(self._atlas.location(address), math.inf, (address,))
        if not is_host_name(name):
            return _NO_NAME
        entry = self._entries.get(name)
        return _UNKNOWN if entry is None else self._current(name, entry)

    def is_in_table(self, name: str) -> bool:
        """Whether the operator has said where this host is."""
        return self._atlas.table.of_name(name) is not None

    def is_fresh(self, known: Known) -> bool:
        """Whether nothing newer is to be had."""
        return self._clock() <= known.until

    def look_up(self, name: str) -> asyncio.Task[None] | None:
        """What to wait for to know a name better, begun where it must be; None for nothing."""
        known = self.known(name)
        if self.is_fresh(known):
            return None
        flight = self._flights.get(name)
        if flight is not None:
            is_late = self._clock() - flight.began >= self._limits.answer_s
            return None if is_late or known.until else flight.task
        if len(self._flights) >= self._limits.look_ups:
            return None
        return self._begin(name).task

    async def close(self) -> None:
        """End all look-ups."""
        tasks = [each.task for each in self._flights.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _current(self, name: str, entry: _Entry) -> Known:
        """An entry, by the databases of today: no look-up is needed for that."""
        if entry.generation == self._atlas.generation:
            return entry.known
        known = self._located(entry.known.addresses, entry.known)
        known = known._replace(until=entry.known.until)
        self._entries[name] = _Entry(known, self._atlas.generation)
        return known

    def _begin(self, name: str) -> _Flight:
        self.look_ups += 1
        task = asyncio.get_running_loop().create_task(self._fly(name))
        flight = self._flights[name] = _Flight(task, self._clock())
        return flight

    async def _fly(self, name: str) -> None:
        addresses: Sequence[str] = ()
        try:
            async with asyncio.timeout(self._limits.look_up_s):
                addresses = await self._resolve(name)
        except Busy:
            return  # says nothing about the name
        except OSError:
            pass  # a TimeoutError is one, too
        finally:
            del self._flights[name]
        entry = self._entries.pop(name, None)
        old = _UNKNOWN if entry is None else entry.known
        if entry is None and len(self._entries) >= self._limits.names:
            del self._entries[next(iter(self._entries))]
        known = self._located(tuple(addresses), old)
        self._entries[name] = _Entry(known, self._atlas.generation)

    def _located(self, addresses: tuple[str, ...], old: Known) -> Known:
        """Where these addresses are; where the host was, if nobody knows."""
        until = self._clock() + self._limits.age_s
        sighting = self._atlas.sight(addresses)
        if sighting is None or sighting.place.location is None:
            return Known(old.location, until, addresses or old.addresses)
        return Known(sighting.place.location, until, addresses)
