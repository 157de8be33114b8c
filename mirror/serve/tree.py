"""The trees of all replicas, as answers: what is asked for often is at hand.

    request line ─► hot      objects whose bytes are in memory          no system call
                 ─► open     objects whose file is open                 one, to read
                 ─► opener   whose name the kernel has in its cache     four
                 ─► thread   the rest: the disk has to turn

Keys are whole request lines, ``GET /cvmfs/… HTTP/1.1``, in the one spelling that needs no
interpretation; any other spelling is aiohttp's business, and comes back as a `Resource`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from mirror.serve.content import Found, OpenFile
from mirror.serve.hot import HotSet
from mirror.serve.opening import Opener, WouldWait
from mirror.serve.resources import Resource, resource
from mirror.serve.root_files import BeingReplaced, RootFiles
from mirror.serve.shelf import Tell, seek_by_finding
from mirror.store.threads import in_thread

_PLAIN_LINE: Final = re.compile(rb"GET (/cvmfs/[A-Za-z0-9._/-]{1,512}) HTTP/1\.1")


@dataclass(frozen=True, slots=True)
class Room:
    """How much may be kept at hand.

    Attributes:
        memory_bytes: contents of objects.
        object_bytes: of one object, at most.
        open_files: files of objects.
    """

    memory_bytes: int = 128 * 1024 * 1024
    object_bytes: int = 256 * 1024
    open_files: int = 1024


class Tree:
    """A `Shelf` over ``<storage>/<fqrn>/…``."""

    def __init__(self, storage: Path, room: Room | None = None) -> None:
        """Of the tree at ``storage``; nothing is read yet."""
        self._storage = str(storage)
        self._room = room or Room()
        self.hot = HotSet[bytes, Found](self._room.memory_bytes)
        self.open = HotSet[bytes, Found](self._room.open_files)
        self._hot, self._open = self.hot.entries, self.open.entries
        self._roots = RootFiles(storage)
        self._opener = Opener()

    def at_hand(self, line: bytes) -> Found | None:
        """As `Shelf.at_hand`."""
        found = self._hot.get(line) or self._open.get(line)
        if found is not None:
            found.is_wanted = True
            return found
        wanted = self.named(line)
        return None if wanted is None else self._without_waiting(line, wanted)

    def named(self, line: bytes) -> Resource | None:
        """As `Shelf.named`."""
        match = _PLAIN_LINE.fullmatch(line)
        return None if match is None else resource(match[1].decode("ascii"))

    def asked(self, path: str, origin: str) -> Resource | None:  # noqa: ARG002 - any host is ours
        """As `Shelf.asked`."""
        return resource(path)

    def seek(self, line: bytes, wanted: Resource, tell: Tell) -> Callable[[], None]:  # noqa: ARG002
        """As `Shelf.seek`."""
        return seek_by_finding(self, wanted, tell)

    async def find(self, wanted: Resource, *, is_fresh: bool = False) -> Found | None:
        """As `Shelf.find`."""
        if not wanted.is_immutable:
            return await in_thread(partial(self._roots.find, wanted, may_wait=True))
        line = b"GET /cvmfs/%s HTTP/1.1" % wanted.path.encode("ascii")
        if is_fresh:
            self.hot.remove(line)
            self.open.remove(line)
        elif found := self._hot.get(line) or self._open.get(line):
            return found
        file = await in_thread(partial(self._opener.wait_for, self._path(wanted)))
        if file is None:
            return None
        if not self._belongs_in_memory(file):
            return self._keep(line, wanted, file, b"")
        return self._keep(line, wanted, file, bytes(await file.read(0, file.size_bytes)))

    def _without_waiting(self, line: bytes, wanted: Resource) -> Found | None:
        try:
            if not wanted.is_immutable:
                return self._roots.find(wanted)
            file = self._opener.at_hand(self._path(wanted))
            if file is None:
                return None
            if not self._belongs_in_memory(file):
                return self._keep(line, wanted, file, b"")
            content = file.at_hand(0, file.size_bytes)
        except (WouldWait, BeingReplaced, OSError):
            return None  # `find` waits for it, or says what is wrong
        return None if content is None else self._keep(line, wanted, file, bytes(content))

    def _path(self, wanted: Resource) -> str:
        return f"{self._storage}/{wanted.path}"

    def _belongs_in_memory(self, file: OpenFile) -> bool:
        return 0 < file.size_bytes <= min(self._room.object_bytes, self._room.memory_bytes // 10)

    def _keep(self, line: bytes, wanted: Resource, file: OpenFile, content: bytes) -> Found:
        """Put it where it is at hand next time; in memory if all of its bytes are here."""
        if len(content) == file.size_bytes:
            found = Found.in_memory(wanted, content)
            self.hot.add(line, found)
        else:
            found = Found.on_disk(wanted, file)
            self.open.add(line, found)
        return found
