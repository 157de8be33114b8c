"""Why an order came out: each step of an answer, for people and for machines."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from mirror.geo.answering import Reply
from mirror.geo.location import Location, Place
from mirror.geo.naming import unmapped
from mirror.geo.ordering import angle
from mirror.geo.request import SEPARATOR, Asker
from mirror.geo.setting_up import Geo

_EARTH_KM: Final = 6371.0


@dataclass(frozen=True, slots=True)
class Seen:
    """What was found out about a client or a server.

    Attributes:
        name: as it was asked for.
        address: it was looked for at; None if the name alone told, or nothing did.
        location: None if nobody knows.
        source: who says so, or why nobody does.
        distance_km: from the client; None for the client itself, and for who is nowhere.
        position: in the request, from 1; 0 for the client.
    """

    name: str
    address: str | None
    location: Location | None
    source: str
    distance_km: float | None = None
    position: int = 0


@dataclass(frozen=True, slots=True)
class Explanation:
    """An answer and its reasons.

    Attributes:
        reply: what a client is told.
        client: who asks.
        servers: in the order of the answer; in that of the request where there is none.
    """

    reply: Reply
    client: Seen
    servers: tuple[Seen, ...]


async def explain(geo: Geo, client: str, servers: tuple[str, ...]) -> Explanation:
    """What a client at this address, or behind the proxy of this name, is told."""
    reply = await geo.answer(f"/x/v1.0/geo/{client}/{','.join(servers)}", Asker(client))
    seen = _seen(geo, client)
    if reply.status == 200:
        positions = [int(each) for each in reply.text.split(",")]
    else:
        positions = list(range(1, len(servers) + 1))
    rows = (_server(geo, servers[each - 1], each, seen.location) for each in positions)
    return Explanation(reply, seen, tuple(rows))


def _server(geo: Geo, name: str, position: int, client: Location | None) -> Seen:
    if name == SEPARATOR:
        return Seen(name, None, None, "separates servers from proxies", None, position)
    seen = _seen(geo, name)
    distance = None
    if client is not None and seen.location is not None:
        distance = round(angle(client, seen.location) * _EARTH_KM, 1)
    return Seen(name, seen.address, seen.location, seen.source, distance, position)


def _seen(geo: Geo, name: str) -> Seen:
    place = geo.atlas.table.of_name(name)
    if place is not None:
        return Seen(name, None, place.location, place.source)
    known = geo.names.known(unmapped(name))
    sighting = geo.atlas.sight(known.addresses)
    if sighting is not None:
        address, place = sighting
        return Seen(name, address, place.location, _told(place))
    if known.addresses:
        return Seen(name, known.addresses[0], known.location, "in no database")
    return Seen(name, None, known.location, _why_not(geo, name))


def _told(place: Place) -> str:
    return place.source if place.location else f"{place.source}, but without a location"


def _why_not(geo: Geo, name: str) -> str:
    known = geo.names.known(name)
    if not geo.names.is_fresh(known):
        return "was not resolved in time"
    return "is no host name" if math.isinf(known.until) else "does not resolve"
