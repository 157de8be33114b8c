"""Servers by their distance: pure, and the same order as the reference's to the last tie."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from mirror.geo.location import Location
from mirror.geo.request import Query

_RADIANS: Final = math.pi / 180.0
Locate = Callable[[str], Location | None]


class Order(NamedTuple):
    """Servers in their order.

    Attributes:
        positions: in the request, from 0, the nearest first.
        is_known: of at least one server it is known where it is.
    """

    positions: tuple[int, ...]
    is_known: bool


def angle(one: Location, two: Location) -> float:
    """Between two points, seen from the centre of the Earth, in radians.

    The same steps in the same order as the reference, since a tie is told by the last bit. What it
    lacks: a sum a little above one, of points that are nearly the same or opposite, is one.
    """
    if one == two:
        return 0.0
    phi1, phi2 = (90.0 - one.latitude) * _RADIANS, (90.0 - two.latitude) * _RADIANS
    theta1, theta2 = one.longitude * _RADIANS, two.longitude * _RADIANS
    cosine = math.sin(phi1) * math.sin(phi2) * math.cos(theta1 - theta2) + math.cos(
        phi1
    ) * math.cos(phi2)
    return math.acos(min(1.0, max(-1.0, cosine)))


def by_distance(client: Location, servers: Sequence[Location | None]) -> Order:
    """From the nearest to the farthest, unknown ones last, ties as they stand."""
    angles = [math.inf if each is None else angle(client, each) for each in servers]
    positions = sorted(range(len(servers)), key=angles.__getitem__)
    return Order(tuple(positions), any(each is not None for each in servers))


def order(query: Query, client: Location, host: Locate, proxy: Locate) -> Order:
    """The answer to a query.

    Fall-back proxies are sorted around the client, and hosts around the nearest of them, since that
    is who will ask them. The separator comes last: as many numbers as servers were asked for.

    Args:
        query: what is asked.
        client: where who asks is.
        host: tells where a server is.
        proxy: likewise.
    """
    if not query.has_proxies:
        return by_distance(client, [host(each) for each in query.servers])
    proxies = [proxy(each) for each in query.proxies]
    around_client = by_distance(client, proxies)
    nearest = proxies[around_client.positions[0]] if around_client.is_known else None
    hosts = by_distance(nearest or client, [host(each) for each in query.hosts])
    return Order(_joined(query, hosts.positions, around_client.positions), hosts.is_known)


def as_asked(query: Query) -> Order:
    """The order for one who knows nothing: as the request has it."""
    hosts, proxies = range(len(query.hosts)), range(len(query.proxies))
    if not query.has_proxies:
        return Order(tuple(hosts), is_known=False)
    return Order(_joined(query, tuple(hosts), tuple(proxies)), is_known=False)


def demoted(query: Query, found: Order, is_unfit: Callable[[str], bool]) -> Order:
    """The same order with the unfit hosts behind the others, unless all of them are."""
    count = len(query.hosts)
    hosts, rest = found.positions[:count], found.positions[count:]
    unfit = [each for each in hosts if is_unfit(query.servers[each])]
    fit = [each for each in hosts if each not in unfit]
    return Order((*fit, *unfit, *rest), found.is_known)


def _joined(query: Query, hosts: tuple[int, ...], proxies: tuple[int, ...]) -> tuple[int, ...]:
    separator = len(query.hosts)
    return (*hosts, *(separator + 1 + each for each in proxies), separator)
