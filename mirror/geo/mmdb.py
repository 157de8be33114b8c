"""One database file in MaxMind's format, whoever made it.

Two schemas are understood: GeoLite2's, ``{"location": {"latitude": …, "longitude": …}}``, and the
flat one, ``{"latitude": …, "longitude": …}``.

The file is copied into memory of our own. Mapping the file itself would be cheaper, but an operator
who copies a new one over it would end us: the kernel kills whoever reads where a file was cut.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final, Self

import maxminddb

from mirror.errors import FormatError
from mirror.geo.location import Location, Place

_MAX_BYTES: Final = 2 * 1024**3
_FIRST_RECORDS: Final = 20_000
_PROBES: Final = 4_096


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
            found = cls(_in_memory(path), path.name)
            found._require_sound()
        except (maxminddb.InvalidDatabaseError, ValueError, KeyError, TypeError) as error:
            raise FormatError(f"{path}: no sound database: {error}") from error
        return found

    def place(self, address: str) -> Place | None:
        """As `Locations.place`."""
        if ":" in address and not self._has_v6:
            return None
        try:
            record = self._reader.get(address)
        except (maxminddb.InvalidDatabaseError, ValueError):
            return None  # damaged at a spot that was not looked at
        return None if record is None else Place(location_in(record), self._source)

    def _require_sound(self) -> None:
        """Look at the first records and all over the tree.

        Raises:
            ValueError, maxminddb.InvalidDatabaseError: something is wrong.
        """
        records = [record for _, record in islice(self._reader, _FIRST_RECORDS)]
        if not any(location_in(each) for each in records):
            raise ValueError("no latitude and longitude in it; take a database of cities")
        for address in _probes(has_v6=self._has_v6):
            self._reader.get(address)


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


def _in_memory(path: Path) -> maxminddb.Reader:
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > _MAX_BYTES:
            raise ValueError(f"larger than {_MAX_BYTES} bytes")
        copy = os.memfd_create("geo")
        try:
            while os.sendfile(copy, file.fileno(), None, _MAX_BYTES):
                pass
            return maxminddb.open_database(f"/proc/self/fd/{copy}")
        finally:
            os.close(copy)  # the mapping stays


def _probes(*, has_v6: bool) -> Iterator[str]:
    """Addresses all over the tree, at unequal distances."""
    for number in range(_PROBES):
        spread = number * 0x9E3779B1 % 2**32
        yield ".".join(map(str, spread.to_bytes(4, "big")))
        if has_v6:
            yield f"{0x2000 + (spread >> 19):x}:{spread & 0xFFFF:x}::1"
