"""``[geo]`` of the configuration: what the Geo API knows of places."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from mirror.amounts import problem
from mirror.geo.location import Location
from mirror.geo.options import GeoOptions, require_location
from mirror.geo.table import as_network
from mirror.tables import AbsolutePath, Table

Latitude = Annotated[float, Field(ge=-90, le=90, allow_inf_nan=False)]
Longitude = Annotated[float, Field(ge=-180, le=180, allow_inf_nan=False)]


def _network(text: str) -> str:
    if as_network(text) is None:
        raise problem(f"{text!r} is no network and no address; write 192.0.2.0/24 or 192.0.2.1")
    return text


def _place(key: str) -> str:
    try:
        require_location(key)
    except ValueError as error:
        raise problem(str(error)) from error
    return key


class GeoSettings(Table):
    """What the Geo API knows."""

    databases: list[AbsolutePath] = Field(default=[])
    trusted_proxies: list[Annotated[str, AfterValidator(_network)]] = Field(default=[])
    locations: dict[Annotated[str, AfterValidator(_place)], tuple[Latitude, Longitude]] = Field(
        default={}
    )

    @property
    def options(self) -> GeoOptions:
        """As the room takes them."""
        return GeoOptions(
            databases=tuple(self.databases),
            trusted_proxies=tuple(self.trusted_proxies),
            locations={key: Location(*each) for key, each in self.locations.items()},
        )
