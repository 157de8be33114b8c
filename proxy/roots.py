"""Root files in a proxy: for a minute, then asked for again; old ones while nobody answers.

Each is kept by the server it came from, since mirrors are not all at the same revision. Where a
client names none, all mirrors count as one, and a manifest that is older than the one already given
is not given: clients would refuse it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from mirror.cvmfs.manifest import Manifest
from mirror.cvmfs.paths import MANIFEST
from mirror.errors import FormatError
from mirror.serve.content import Found, Outcome
from mirror.serve.resources import Resource
from mirror.serve.shelf import Outcome as Told
from mirror.serve.shelf import Refusal

_FRESH_S: Final = 61.0
_PAUSE_S: Final = 5.0
"""Between attempts while nobody answers."""


@dataclass(frozen=True, slots=True)
class Freshness:
    """How long root files count.

    Attributes:
        fresh_s: they are given without asking.
        stale_s: they are given while no upstream answers; 0 for never.
        entries: that are kept.
    """

    fresh_s: float = _FRESH_S
    stale_s: float = 86_400.0
    entries: int = 10_000


@dataclass(slots=True)
class _Entry:
    content: bytes
    found: Found
    fetched: float
    fresh_until: float
    age: int = -1


class Roots:
    """The root files that are here."""

    def __init__(self, freshness: Freshness, now: Callable[[], float]) -> None:
        """None yet; ``now`` gives seconds that never go back."""
        self._freshness = freshness
        self._now = now
        self._entries: OrderedDict[tuple[str, str], _Entry] = OrderedDict()

    def at_hand(self, wanted: Resource) -> Found | None:
        """One that is fresh."""
        entry = self._entries.get((wanted.origin, wanted.path))
        now = self._now()
        if entry is None or now >= entry.fresh_until:
            return None
        return self._aged(entry, now)

    def put(self, wanted: Resource, content: bytes) -> Found:
        """One that has just come; gives what clients get."""
        key, now = (wanted.origin, wanted.path), self._now()
        before = self._entries.get(key)
        if before is not None and _is_older(wanted, content, before.content):
            before.fresh_until = now + _PAUSE_S
            return replace(self._aged(before, now), outcome=Outcome.STALE)
        entry = _Entry(
            content, Found.in_memory(wanted, content), now, now + self._freshness.fresh_s
        )
        self._entries[key] = entry
        self._entries.move_to_end(key)
        while len(self._entries) > self._freshness.entries:
            self._entries.popitem(last=False)
        is_same = before is not None and before.content == content
        outcome = Outcome.REVALIDATED if is_same else Outcome.MISS
        return replace(entry.found, outcome=outcome)

    def instead_of(self, wanted: Resource, refusal: Refusal) -> Told:
        """What clients get where nobody gave it: an old one, unless it is said to be gone."""
        entry = self._entries.get((wanted.origin, wanted.path))
        now = self._now()
        if refusal.status == 404:
            self.forget(wanted)
            return refusal
        if entry is None or now - entry.fetched > self._freshness.stale_s:
            return refusal
        entry.fresh_until = now + _PAUSE_S
        return replace(self._aged(entry, now), outcome=Outcome.STALE)

    def forget(self, wanted: Resource) -> None:
        """It is to be asked for at the next request."""
        self._entries.pop((wanted.origin, wanted.path), None)

    def expire(self, fqrn: str) -> None:
        """There is news of a repository: whatever is here of it may be old."""
        for _, entry in [
            each for each in self._entries.items() if each[0][1].startswith(f"{fqrn}/")
        ]:
            entry.fresh_until = 0.0

    @staticmethod
    def _aged(entry: _Entry, now: float) -> Found:
        """With its age, for the caches below."""
        age = int(now - entry.fetched)
        if age != entry.age:
            head = entry.found.resource.head(len(entry.content))
            entry.found = replace(entry.found, head=b"Age: %d\r\n%s" % (age, head))
            entry.age = age
        return entry.found


def _is_older(wanted: Resource, content: bytes, before: bytes) -> bool:
    """Whether a manifest is of an older revision than the one that was given already."""
    if not wanted.path.endswith(f"/{MANIFEST}"):
        return False
    try:
        new, old = Manifest.parse(content), Manifest.parse(before)
    except FormatError:
        return False
    return (new.revision, new.published_at) < (old.revision, old.published_at)
