"""What request lines name, without taking each of them apart from the beginning.

Clients ask for object after object of few repositories, so what stands before ``/data/`` is looked
at once, destination and repository, and remembered. What follows has to be an object's name,
character by character, every time.

A line is looked at several times on the way of one request, and is the same bytes each time: the
last answer is kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from mirror.serve.resources import Resource, object_resource, resource
from proxy.destinations import as_origin

_LINE: Final = re.compile(
    rb"GET (http://([A-Za-z0-9._:\[\]-]{1,255}))?(/cvmfs/[A-Za-z0-9._/-]{1,512}) HTTP/1\.1"
)
_OBJECT: Final = re.compile(
    rb"/(data/[0-9a-f]{2}/[0-9a-f]{38}(?:|-rmd160|-shake128)([CHLMPX]?)) HTTP/1\.1"
)
_MOST_PREFIXES: Final = 10_000


class Lines:
    """Tells the resources of request lines that are plainly ours."""

    def __init__(self, objection: Callable[[str], str]) -> None:
        """Know none; ``objection`` says why an origin may not be asked, or nothing."""
        self.prefixes: Final[dict[bytes, tuple[str, str]]] = {}
        """Of lines that name objects: repository and origin. To look into directly."""
        self._objection = objection
        self._line = b""
        self._wanted: Resource | None = None

    def named(self, line: bytes) -> Resource | None:
        """As `Shelf.named`."""
        if line is not self._line:
            self._wanted = self._object(line) or self._parsed(line)
            self._line = line
        return self._wanted

    def _object(self, line: bytes) -> Resource | None:
        """What a line names that begins like others before it."""
        at = line.find(b"/data/")
        known = self.prefixes.get(line[:at])
        match = _OBJECT.fullmatch(line, at) if known is not None else None
        if known is None or match is None:
            return None
        path = f"{known[0]}/{match[1].decode('ascii')}"
        return object_resource(path, known[1], is_catalog=match[2] == b"C")

    def _parsed(self, line: bytes) -> Resource | None:
        match = _LINE.fullmatch(line)
        if match is None:
            return None
        origin = as_origin((match[1] or b"").decode("ascii"))
        if origin and self._objection(origin):
            return None  # `Shelf.asked` says why
        wanted = resource(match[3].decode("ascii"))
        if wanted is None:
            return None
        if wanted.is_immutable:
            self._learn(line, wanted, origin)
        return replace(wanted, origin=origin) if origin else wanted

    def _learn(self, line: bytes, wanted: Resource, origin: str) -> None:
        prefix, separator, _ = line.partition(b"/data/")
        if not separator:
            return  # an alternative path
        if len(self.prefixes) >= _MOST_PREFIXES:
            self.prefixes.clear()
        self.prefixes[prefix] = wanted.path.partition("/")[0], origin
