"""Answers that are kept for a while, by their URL: those of the Geo API."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

_MOST: Final = 4096
_LONGEST_S: Final = 3600.0
_ERROR_S: Final = 5.0
_MAX_AGE: Final = re.compile(r"(?:^|[\s,])(?:s-maxage|max-age)=\"?(\d{1,9})", re.IGNORECASE)
_NOT_KEPT: Final = re.compile(r"(?:^|[\s,])(?:no-store|no-cache|private)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer of a server, or of our own.

    Attributes:
        status: of HTTP.
        body: all of it.
        headers: those that are given on.
    """

    status: int
    body: bytes
    headers: Mapping[str, str]

    @property
    def fresh_s(self) -> float:
        """How long it may be given without asking again."""
        if self.status >= 400:
            return _ERROR_S
        said = self.headers.get("Cache-Control", "")
        age = _MAX_AGE.search(said)
        if age is None or _NOT_KEPT.search(said):
            return 0.0
        return min(float(age[1]), _LONGEST_S)


Key = tuple[str, str]
"""Which server was named, and the path."""


class Replies:
    """The oldest make room."""

    def __init__(self, now: Callable[[], float], most: int = _MOST) -> None:
        """None yet; ``now`` gives seconds that never go back."""
        self._now = now
        self._most = most
        self._entries: OrderedDict[Key, tuple[float, Reply]] = OrderedDict()

    def at_hand(self, key: Key) -> tuple[Reply, int] | None:
        """One that still counts, and its age in seconds."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        fetched, reply = entry
        age_s = self._now() - fetched
        if age_s >= reply.fresh_s:
            del self._entries[key]
            return None
        return reply, int(age_s)

    def keep(self, key: Key, reply: Reply) -> None:
        """One that has just come."""
        if reply.fresh_s <= 0:
            return
        self._entries[key] = self._now(), reply
        self._entries.move_to_end(key)
        while len(self._entries) > self._most:
            self._entries.popitem(last=False)
