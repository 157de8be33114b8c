"""Where something is, and what knows that."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Location(NamedTuple):
    """A point on Earth, in degrees."""

    latitude: float
    longitude: float


class Place(NamedTuple):
    """What is known of an address.

    Attributes:
        location: where it is; None if it is known, but not where.
        source: who says so, for people.
    """

    location: Location | None
    source: str


class Locations(Protocol):
    """Knows places of addresses."""

    def place(self, address: str) -> Place | None:
        """Of an address, IPv4 or IPv6, in its usual spelling; None if it is not known at all."""
