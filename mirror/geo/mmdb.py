"""One database file in MaxMind's format, whoever made it.

Two schemas are understood: GeoLite2's, ``{"location": {"latitude": …, "longitude": …}}``, and the
flat one, ``{"latitude": …, "longitude": …}``.

The file is read into memory, and by the reader that is written in Python. The one in C is twenty
times as fast, but ends the whole process where a file is damaged, or cut while it is in use; and
what is looked up is remembered anyway (`databases`).
"""

from __future__ import annotations

import io
import math
import os
import struct
from pathlib import Path
from typing import Any, Final, Self

import maxminddb

from mirror.errors import FormatError
from mirror.geo.location import Location, Place
from mirror.geo.search_tree import SearchTree

_MAX_BYTES: Final = 2 * 1024**3
_DAMAGED: Final = (
    maxminddb.InvalidDatabaseError,
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
)
"""What the reader makes of wrong bytes."""


class Database:
    """One file, as it was when it was opened."""

    def __init__(self, reader: maxminddb.Reader, source: str) -> None:
        self._reader = reader
        self._source = source
        metadata = reader.metadata()
        self._has_v6 = metadata.ip_version == 6
        self.built_at: Final[int] = metadata.build_epoch
        """Unix time."""

    @classmethod
    def open(cls, path: Path) -> Self:
        """Read a file, and look whether it can be right; this blocks.

        Raises:
            FormatError: it is damaged, or no database of places.
            OSError: it cannot be read.
        """
        try:
            data = _read(path)
            reader = maxminddb.open_database(io.BytesIO(data), maxminddb.MODE_FD)
            _require_sound(reader, memoryview(data))
            return cls(reader, path.name)
        except _DAMAGED as error:
            raise FormatError(f"{path}: no sound database: {error}") from error

    def place(self, address: str) -> Place | None:
        """As `Locations.place`."""
        if ":" in address and not self._has_v6:
            return None
        try:
            record = self._reader.get(address)
        except _DAMAGED:
            return None  # damaged at a spot that was not looked at
        return None if record is None else Place(location_in(record), self._source)


def location_in(record: object) -> Location | None:
    """The location in a record of either schema."""
    if not isinstance(record, dict):
        return None
    nested: Any = record.get("location", record)
    try:
        latitude, longitude = float(nested["latitude"]), float(nested["longitude"])
    except (KeyError, TypeError, ValueError):
        return None
    is_on_earth = math.isfinite(latitude) and math.isfinite(longitude)
    return Location(latitude, longitude) if is_on_earth else None


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size > _MAX_BYTES:
            raise ValueError(f"larger than {_MAX_BYTES} bytes")
        return file.read(_MAX_BYTES)


def _require_sound(reader: maxminddb.Reader, data: memoryview) -> None:
    """Look at records all over the tree.

    Raises:
        Exception: of those in `_DAMAGED`: something is wrong.
    """
    about = reader.metadata()
    if about.record_size not in {24, 28, 32} or about.ip_version not in {4, 6}:
        raise ValueError(f"records of {about.record_size} bits for IPv{about.ip_version}")
    bits = 128 if about.ip_version == 6 else 32
    tree = SearchTree(data, about.node_count, about.record_size, bits)
    if not 0 < tree.size_bytes < len(data):
        raise ValueError("it is too short for its search tree")
    if not any([location_in(reader.get(address)) for address in tree.addresses()]):  # noqa: C419 - all of them
        raise ValueError("no latitude and longitude in it; take a database of cities")
