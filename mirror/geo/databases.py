"""All databases of the configuration, reloaded when their files change.

Where several know an address, the first that knows its location counts: a file for IPv4 and one for
IPv6 stand side by side, and so do a good one and one that knows more. A new file that is damaged is
refused, once for each time it changes, and the old one stays, also where the file is gone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from mirror.errors import FormatError
from mirror.geo.location import Place
from mirror.geo.mmdb import Database
from mirror.store.threads import in_thread

_PLACES: Final = 65_536
_log: Final = logging.getLogger(__name__)


class _Version(NamedTuple):
    """What tells a file from the one that was there before."""

    inode: int
    size: int
    changed_ns: int


class Databases:
    """Tells places from database files."""

    def __init__(
        self, paths: Sequence[Path] = (), say: Callable[[str], None] = _log.warning
    ) -> None:
        """Nothing is read yet; ``say`` takes what the operator has to know."""
        self._paths = tuple(paths)
        self._say = say
        self._seen: dict[Path, _Version | None] = {}
        self._loaded: dict[Path, Database] = {}
        self._databases: tuple[Database, ...] = ()
        self._places: dict[str, Place | None] = {}
        self.generation = 0
        """Grows with each database that is read."""
        self.refused = 0
        """New files that were not taken."""

    def __bool__(self) -> bool:
        return bool(self._databases)

    @property
    def built_at(self) -> int | None:
        """When the oldest in use was made, Unix time."""
        return min((each.built_at for each in self._databases), default=None)

    def place(self, address: str) -> Place | None:
        """As `Locations.place`; what was looked up is remembered."""
        places = self._places  # a reload in between leaves this one behind
        try:
            return places[address]
        except KeyError:
            place = self._look_up(address)
        if len(places) >= _PLACES:
            del places[next(iter(places))]
        places[address] = place
        return place

    def _look_up(self, address: str) -> Place | None:
        found = None
        for database in self._databases:
            place = database.place(address)
            if place is not None:
                if place.location is not None:
                    return place
                found = found or place
        return found

    def refresh(self) -> None:
        """Look whether files have changed, and read those that have; this blocks."""
        for path in self._paths:
            version = _version(path)
            if path not in self._seen or version != self._seen[path]:
                self._seen[path] = version
                self._read(path)

    async def watch(self, every_s: float) -> None:
        """Go on refreshing until cancelled."""
        while True:
            await asyncio.sleep(every_s)
            await in_thread(self.refresh)

    def _read(self, path: Path) -> None:
        try:
            self._loaded[path] = Database.open(path)
        except (OSError, FormatError) as error:
            reason = f"{path}: {error.strerror}" if isinstance(error, OSError) else str(error)
            is_kept = path in self._loaded
            self.refused += 1
            self._say(f"{reason}; {'the one before it stays in use' if is_kept else 'not used'}")
            return
        self._databases = tuple(self._loaded[each] for each in self._paths if each in self._loaded)
        self._places = {}
        self.generation += 1


def _version(path: Path) -> _Version | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return _Version(status.st_ino, status.st_size, status.st_mtime_ns)
