"""What a proxy has, and where it gets what it has not.

    request line ─► memory ─► disk ─► a flight that is under way ─► a new flight

An object is known by its name alone, ``data/ab/cdef…``: whichever repository and whichever server a
client names, the bytes are the same. Root files are known by the server, too (`proxy.roots`).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Final

from mirror.cvmfs.content_hash import ContentHash
from mirror.cvmfs.paths import parse_object_path
from mirror.serve.content import FileRange, Found, MemoryBody, Outcome
from mirror.serve.hot import HotSet
from mirror.serve.resources import Resource, resource
from mirror.serve.shelf import Outcome as Told
from mirror.serve.shelf import Refusal, Tell
from proxy.cache.disk import DiskTier
from proxy.destinations import Destinations, as_origin, server_of
from proxy.fetching import Errand, Fetcher, denied
from proxy.flight import Flight
from proxy.lines import Lines
from proxy.reading import Reading
from proxy.roots import Roots
from proxy.siblings.asking import Otherwise, Siblings
from proxy.siblings.flight import AskedFlight

_ROOT_FILE_BYTES: Final = 16 * 1024 * 1024
_OBJECT_BYTES: Final = 16 * 1024**3
_FILES: Final = 4096


@dataclass(frozen=True, slots=True)
class Room:
    """How much is kept.

    Attributes:
        memory_bytes: contents of objects in memory.
        object_bytes: of one of them, at most.
    """

    memory_bytes: int = 256 * 1024 * 1024
    object_bytes: int = 256 * 1024


@dataclass(frozen=True, slots=True)
class Cache:
    """Where objects are kept.

    Attributes:
        room: in memory.
        disk: the other tier; None for none.
        directory: for large objects on their way; None keeps them in memory.
    """

    room: Room
    disk: DiskTier | None = None
    directory: Path | None = None


class ProxyShelf:
    """A `Shelf` over a cache and its upstreams."""

    def __init__(
        self,
        cache: Cache,
        fetcher: Fetcher,
        destinations: Destinations,
        roots: Roots,
        siblings: Siblings | None = None,
    ) -> None:
        """Empty memory, whatever is on the disk.

        Args:
            cache: its tiers.
            fetcher: brings what is not here.
            destinations: where clients may send us.
            roots: root files.
            siblings: other workers, who own part of what there is; None if we are alone.
        """
        room = cache.room
        self._room = room
        self._disk = cache.disk
        self._directory = cache.directory
        self._fetcher = fetcher
        self._destinations = destinations
        self.roots = roots
        self._siblings = siblings
        self.hot = HotSet[bytes, Found](room.memory_bytes)
        self._files = HotSet[bytes, Found](_FILES)
        self._hot = self.hot.entries
        self._lines = Lines(self._objection)
        self._prefixes = self._lines.prefixes
        self._flights: dict[tuple[str, str], Flight] = {}
        self._asked: dict[tuple[str, str], Flight] = {}
        self._landing: dict[bytes, Found] = {}
        self._readings: dict[bytes, Reading] = {}
        self.retries = 0

    # --- as `Shelf` -------------------------------------------------------------------------------

    def at_hand(self, line: bytes) -> Found | None:
        """As `Shelf.at_hand`."""
        at = line.find(b"/data/")
        if at > 0 and line[:at] in self._prefixes and line.endswith(b" HTTP/1.1"):
            name = line[at + 1 : -9]
            found = self._hot.get(name)
            if found is not None:
                found.is_wanted = True
                return found
        wanted = self.named(line)
        if wanted is None:
            return None
        return self._object_at_hand(wanted) if wanted.is_immutable else self.roots.at_hand(wanted)

    def named(self, line: bytes) -> Resource | None:
        """As `Shelf.named`."""
        return self._lines.named(line)

    def asked(self, path: str, origin: str) -> Resource | None:
        """As `Shelf.asked`."""
        origin = as_origin(origin)
        if origin and (objection := self._objection(origin)):
            raise denied(objection)
        wanted = resource(path)
        return replace(wanted, origin=origin) if wanted is not None and origin else wanted

    def seek(
        self,
        line: bytes,  # noqa: ARG002 - of the protocol
        wanted: Resource,
        tell: Tell,
        *,
        is_sibling: bool = False,
    ) -> Callable[[], None]:
        """As `Shelf.seek`; a sibling is never sent on to another one."""
        flight = self._flight if is_sibling else self._asked_flight
        if not wanted.is_immutable:
            return flight(wanted).follow(partial(self._tell_root, wanted, tell))
        name, disk = _name(wanted), self._disk
        if disk is not None and _key(wanted) not in self._flights and disk.has(name):
            return self._read(wanted, disk, tell, flight)
        return flight(wanted).follow(tell)

    async def find(
        self, wanted: Resource, *, is_fresh: bool = False, is_sibling: bool = False
    ) -> Found | None:
        """As `Shelf.find`; likewise."""
        if is_fresh:
            self._forget(wanted)
        elif found := (
            self._object_at_hand(wanted) if wanted.is_immutable else self.roots.at_hand(wanted)
        ):
            return found
        told: asyncio.Future[Told] = asyncio.get_running_loop().create_future()

        def tell(outcome: Told) -> None:
            if not told.done():
                told.set_result(outcome)

        if is_fresh:
            (self._flight if is_sibling else self._asked_flight)(wanted, is_fresh=True)
        cancel = self.seek(b"", wanted, tell, is_sibling=is_sibling)
        try:
            outcome = await told
        finally:
            cancel()
        if isinstance(outcome, Refusal):
            raise outcome
        return outcome

    # --- what is here -----------------------------------------------------------------------------

    def _object_at_hand(self, wanted: Resource) -> Found | None:
        name = _name(wanted)
        found = self._hot.get(name) or self._files.entries.get(name) or self._landing.get(name)
        if found is not None:
            found.is_wanted = True
            return found
        if self._disk is None:
            return None
        content = self._disk.now(name, _hash(name), self._room.object_bytes)
        return None if content is None else self._from_disk(wanted, name, content)

    def _read(
        self, wanted: Resource, disk: DiskTier, tell: Tell, flight: Callable[[Resource], Flight]
    ) -> Callable[[], None]:
        """Wait for the disk; if it has nothing good after all, fetch."""
        name = _name(wanted)

        async def look() -> Found | None:
            content = await disk.get(name, _hash(name), self._room.object_bytes)
            return None if content is None else self._from_disk(wanted, name, content)

        def over() -> None:
            del self._readings[name]

        reading = self._readings.get(name)
        if reading is None:
            reading = self._readings[name] = Reading(look(), over)
        return reading.join(tell, lambda tell: flight(wanted).follow(tell))

    def _from_disk(self, wanted: Resource, name: bytes, content: bytes | FileRange) -> Found:
        if isinstance(content, FileRange):
            found = Found.on_disk(wanted, content)
            self._files.add(name, found)
            return found
        found = Found.in_memory(wanted, content)
        if self.hot.add(name, found):
            return replace(found, outcome=Outcome.HIT_DISK)
        found.outcome = Outcome.HIT_DISK  # it is nobody else's
        return found

    def _forget(self, wanted: Resource) -> None:
        self.retries += 1
        name = _name(wanted)
        self.roots.doubt(wanted)
        self.hot.remove(name)
        self._files.remove(name)
        if self._disk is not None and wanted.is_immutable:
            self._disk.forget(name)

    def tidy(self) -> None:
        """Let go of files that were replaced, which take room as long as somebody has them."""
        for name, found in list(self._files.entries.items()):
            body = found.body
            if isinstance(body, FileRange) and not os.fstat(body.descriptor).st_nlink:
                self._files.remove(name)
        if self._disk is not None:
            self._disk.tidy()

    # --- what is not ------------------------------------------------------------------------------

    def _flight(self, wanted: Resource, *, is_fresh: bool = False) -> Flight:
        """The flight that brings it; launched if there is none."""
        key = _key(wanted)
        flight = self._flights.get(key)
        if flight is not None:
            return flight
        expected = _hash(_name(wanted)) if wanted.is_immutable else None
        landed = self._object_landed if wanted.is_immutable else self._root_landed
        flight = Flight(wanted, expected, self._directory, landed)
        self._flights[key] = flight
        errand = self._errand(wanted, is_fresh=is_fresh)
        self._fetcher.launch(flight, errand, lambda: self._over(key))
        return flight

    def _asked_flight(self, wanted: Resource, *, is_fresh: bool = False) -> Flight:
        """The same, by way of the worker that it belongs to.

        Such flights are kept apart: what siblings ask for must never wait for a sibling.
        """
        key, siblings = _key(wanted), self._siblings
        flight = self._flights.get(key) or self._asked.get(key)
        if flight is not None:
            return flight
        owners = siblings.owners(wanted) if siblings is not None else []
        if siblings is None or not owners:
            return self._flight(wanted, is_fresh=is_fresh)
        expected = _hash(_name(wanted)) if wanted.is_immutable else None
        landed = self._object_landed if wanted.is_immutable else self._asked_root_landed
        asked = AskedFlight(wanted, expected, self._directory, landed)
        self._asked[key] = asked
        errand = self._errand(wanted, is_fresh=is_fresh)

        def over() -> None:
            self._asked.pop(key, None)

        siblings.ask(owners, asked, errand, Otherwise(partial(self._fetch, asked, errand), over))
        return asked

    def _fetch(self, asked: AskedFlight, errand: Errand) -> None:
        """No owner can be asked: siblings whose substitute we are may follow it, too."""
        key = _key(asked.wanted)
        self._asked.pop(key, None)
        flight = self._flights.setdefault(key, asked)
        if flight is asked:
            self._fetcher.launch(asked, errand, lambda: self._over(key))
        elif not asked.hand_over(flight):
            self._fetcher.launch(asked, errand, lambda: None)

    def _errand(self, wanted: Resource, *, is_fresh: bool) -> Errand:
        most = _OBJECT_BYTES if wanted.is_immutable else _ROOT_FILE_BYTES
        mirrors = self._fetcher.towards(wanted.origin)
        return Errand(wanted.path, most, is_fresh=is_fresh, mirrors=mirrors)

    def _over(self, key: tuple[str, str]) -> None:
        self._flights.pop(key, None)

    def _object_landed(self, flight: Flight, whole: bytes | FileRange) -> Found:
        name = _name(flight.wanted)
        if isinstance(whole, FileRange):
            found = Found.on_disk(flight.wanted, whole)
        elif len(whole) <= self._room.object_bytes:
            found = Found.in_memory(flight.wanted, whole)
            self.hot.add(name, found)
        else:
            head = flight.wanted.head(len(whole))
            found = Found(flight.wanted, head, None, MemoryBody(whole), Outcome.HIT_MEMORY, 1)
        if self._disk is not None:
            self._keep_until_written(name, found, whole, self._disk)
        return found

    def _keep_until_written(
        self, name: bytes, found: Found, whole: bytes | FileRange, disk: DiskTier
    ) -> None:
        if name in self._hot:
            disk.put(name, whole)
            return
        self._landing[name] = found
        done = partial(self._landing.pop, name, None)  # in the writing thread, without waking us
        if not disk.put(name, whole, done):
            done()

    def _root_landed(self, flight: Flight, whole: bytes | FileRange) -> Found:
        if isinstance(whole, FileRange):
            whole = os.pread(whole.descriptor, whole.size_bytes, whole.base)
        return self.roots.put(flight.wanted, whole)

    def _asked_root_landed(self, flight: Flight, whole: bytes | FileRange) -> Found:
        """The owner decides how long it counts; we keep it for when nobody answers."""
        age = flight.age if isinstance(flight, AskedFlight) else None
        if age is None:
            return self._root_landed(flight, whole)
        if isinstance(whole, FileRange):
            whole = os.pread(whole.descriptor, whole.size_bytes, whole.base)
        return self.roots.keep(flight.wanted, whole, age)

    # --- who may be asked -------------------------------------------------------------------------

    def _tell_root(self, wanted: Resource, tell: Tell, outcome: Told) -> None:
        tell(self.roots.instead_of(wanted, outcome) if isinstance(outcome, Refusal) else outcome)

    def _objection(self, origin: str) -> str:
        server = server_of(origin)
        if server is None or not origin.startswith("http://"):
            return f"{origin} is no server that this proxy can ask"
        return self._destinations.objection(*server)


def _name(wanted: Resource) -> bytes:
    """What an object is known by: its path below any repository."""
    return wanted.path.partition("/")[2].encode("ascii")


def _key(wanted: Resource) -> tuple[str, str]:
    """What its flight is known by: an object's is the same wherever it comes from."""
    if wanted.is_immutable:
        return _name(wanted).decode("ascii"), ""
    return wanted.path, wanted.origin


@lru_cache(maxsize=4096)  # one request asks several times
def _hash(name: bytes) -> ContentHash:
    return parse_object_path(name.decode("ascii"))
