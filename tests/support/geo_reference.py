"""The Geo API as the contract tells it (B.11), written once more and without any cleverness.

Nothing of `mirror.geo` is used, so that both have to make the same mistake before it goes unseen.
Where the reference is mended, so is this: texts that can be no names are not looked up, what the
reference would die of is unknown, and the cosine is never more than one.
"""

from __future__ import annotations

import math
import re
import socket
from bisect import bisect_right

from tests.support.geo_world import Point, World

Answer = tuple[int, str, int]


def reference(path: str, headers: dict[str, str], peer: str, world: World) -> Answer:
    """Status, body and max-age of the answer to ``/<repository>/<version>/…``."""
    parts = path.split("/", 4)
    is_well_formed = len(parts) == 5 and parts[0] == "" and parts[2].startswith("v")
    if not is_well_formed or "\n" in parts[4].removesuffix("\n"):
        return bad(f"malformed api URL: {path}")
    if parts[3] != "geo":
        return bad("unrecognized api function")
    call = parts[4].removesuffix("\n")
    if "/" not in call:
        return bad("no slash in geo path")
    caching, _, listed = call.partition("/")
    servers = listed.split(",")
    client = locate_client(caching, headers, peer, world)
    if client is None:
        return bad("remote addr not found in database")
    order = sort_all(client, servers, "CF-Connecting-IP" in headers, world)
    if order is None:
        return bad("no server addr found in database")
    return 200, ",".join(str(each + 1) for each in order) + "\n", 3600


def bad(reason: str) -> Answer:
    """An error."""
    return 400, f"Bad Request: {reason}\n", 300


def locate_client(caching: str, headers: dict[str, str], peer: str, world: World) -> Point | None:
    """Caching string, then CF-Connecting-IP, then the last of X-Forwarded-For, then the peer."""
    found = locate_name(caching, world)
    if found is None and "CF-Connecting-IP" in headers:
        found = locate_address(headers["CF-Connecting-IP"], world)
    if found is None and "X-Forwarded-For" in headers:
        forwarded = headers["X-Forwarded-For"]
        cut = " " if " " in forwarded else ","
        found = locate_address(forwarded.split(cut)[-1], world)
    return found or locate_address(peer, world)


def sort_all(client: Point, servers: list[str], behind: bool, world: World) -> list[int] | None:
    """Positions from 0; None if no server is known."""
    if "+PXYSEP+" not in servers:
        return sort(client, servers, behind, world)
    at = servers.index("+PXYSEP+")
    hosts, proxies = servers[:at], servers[at + 1 :]
    sorted_proxies = sort(client, proxies, False, world)
    if sorted_proxies is not None:
        client = locate_name(proxies[sorted_proxies[0]], world) or client
    sorted_hosts = sort(client, hosts, behind, world)
    if sorted_hosts is None:
        return None
    if sorted_proxies is None:
        sorted_proxies = list(range(len(proxies)))
    return [*sorted_hosts, *(at + 1 + each for each in sorted_proxies), at]


def sort(client: Point, servers: list[str], behind: bool, world: World) -> list[int] | None:
    """One list, by inserting each behind those that are as far."""
    arcs: list[float] = []
    order: list[int] = []
    for number, server in enumerate(servers):
        point = locate_name("ip." + server, world) if behind else None
        point = point or locate_name(server, world)
        arc = math.inf if point is None else angle(client, point)
        at = bisect_right(arcs, arc)
        arcs.insert(at, arc)
        order.insert(at, number)
    return order if any(arc != math.inf for arc in arcs) else None


def angle(one: Point, two: Point) -> float:
    """Spherical law of cosines, from co-latitudes."""
    if one == two:
        return 0.0
    degree = math.pi / 180.0
    phi1, phi2 = (90.0 - one[0]) * degree, (90.0 - two[0]) * degree
    theta1, theta2 = one[1] * degree, two[1] * degree
    first = math.sin(phi1) * math.sin(phi2) * math.cos(theta1 - theta2)
    return math.acos(max(-1.0, min(1.0, first + math.cos(phi1) * math.cos(phi2))))


def locate_address(text: str, world: World) -> Point | None:
    """Of a header or a connection."""
    return world.find(numeric(text))[1] if is_address(text) else None


def locate_name(text: str, world: World) -> Point | None:
    """IPv4 first; what a database knows without knowing where it is ends the search."""
    if "." not in text and ":" not in text:
        return None
    if is_address(text):
        return world.find(numeric(text))[1]
    if not is_name(text) or text not in world.hosts:
        return None
    for colon in (False, True):
        addresses = [each for each in world.hosts[text] if (":" in each) == colon]
        if addresses:
            is_there, point = world.find(addresses[0])
            if is_there:
                return point
    return None


def is_name(text: str) -> bool:
    """Whether a host can be called so."""
    if len(text) > 256:
        return False
    labels = text.removesuffix(".").split(".")
    return all(
        0 < len(label) < 64
        and set(label) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-")
        and not label.startswith("-")
        and not label.endswith("-")
        for label in labels
    )


def is_address(text: str) -> bool:
    """Whether a resolver needs to ask nobody."""
    if not re.fullmatch("[0-9a-zA-Z.:-]{1,256}", text):
        return False
    try:
        numeric(text)
    except OSError:
        return False
    return True


def numeric(text: str) -> str:
    """In its usual spelling."""
    family = socket.AF_INET6 if ":" in text else socket.AF_INET
    packed = socket.inet_pton(family, text) if ":" in text else socket.inet_aton(text)
    return socket.inet_ntop(family, packed)
