"""What would be an open proxy: anybody may come in, and is sent anywhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final

from proxy.destinations import PRIVATE, Network

_LABELS: Final = 2
"""A pattern that leaves less than a domain of one owner, ``*.example.org``, names anything."""


def objections(clients: Sequence[str], hosts: Sequence[str]) -> Iterator[str]:
    """Why these clients may not be sent to these hosts."""
    outside = [each for each in clients if not is_private(ip_network(each))]
    anything = [each for each in hosts if is_anything(each)]
    if outside and anything:
        yield (
            f"hosts {_quoted(anything)} is nearly every server there is, and "
            f"clients {_quoted(outside)} is not only this site: together that is an open "
            "proxy; name mirrors in hosts, like *.example.org, or the site's networks in clients"
        )


def is_private(network: Network) -> bool:
    """Whether all of a network is of some site, and reached from nowhere else."""
    return any(_is_within(network, ip_network(each)) for each in PRIVATE)


def is_anything(pattern: str) -> bool:
    """Whether a pattern says so little that nobody owns all that fits it."""
    _, wildcard, rest = pattern.rstrip(".").rpartition("*")
    if not wildcard:
        return False
    whole_labels = rest.split(".")[1:]
    return len(whole_labels) < _LABELS or not all(whole_labels)


def _is_within(inner: Network, outer: Network) -> bool:
    if isinstance(inner, IPv4Network):
        return isinstance(outer, IPv4Network) and inner.subnet_of(outer)
    return isinstance(outer, IPv6Network) and inner.subnet_of(outer)


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f'"{each}"' for each in names)
