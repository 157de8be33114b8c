"""All that tells places: the operator's table, then the databases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from mirror.geo.databases import Databases
from mirror.geo.location import Location, Place
from mirror.geo.table import Table


class Sighting(NamedTuple):
    """Where a host was found: at which of its addresses, and what is known of that."""

    address: str
    place: Place


class Atlas:
    """A `Locations`; the operator knows best."""

    def __init__(self, table: Table, databases: Databases) -> None:
        self.table: Final = table
        self.databases: Final = databases

    @property
    def generation(self) -> int:
        """Grows when a place may be another than before."""
        return self.databases.generation

    def place(self, address: str) -> Place | None:
        """As `Locations.place`."""
        return self.table.place(address) or self.databases.place(address)

    def location(self, address: str) -> Location | None:
        """Where an address is, if that is known."""
        place = self.place(address)
        return None if place is None else place.location

    def sight(self, addresses: Sequence[str]) -> Sighting | None:
        """A host by its addresses: the first of IPv4, for which databases are better.

        The first of IPv6 where that one is unknown. As in the reference, one that is known but not
        where it is ends the search.
        """
        for is_v6 in (False, True):
            address = next((each for each in addresses if (":" in each) is is_v6), None)
            place = None if address is None else self.place(address)
            if address is not None and place is not None:
                return Sighting(address, place)
        return None
