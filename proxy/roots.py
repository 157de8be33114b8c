"""Root files in a proxy: for a minute, then asked for again; old ones while nobody answers.

Each is kept by the server it came from, since mirrors are not all at the same revision. Where a
client names none, all mirrors count as one, and a manifest that is older than the one already given
is not given: clients would refuse it.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from mirror.cvmfs.manifest import Manifest
from mirror.cvmfs.paths import MANIFEST, WHITELIST
from mirror.cvmfs.whitelist import Whitelist
from mirror.errors import Corrupted, FormatError
from mirror.serve.content import Found, Outcome
from mirror.serve.resources import Resource
from mirror.serve.shelf import Outcome as Told
from mirror.serve.shelf import Refusal

_FRESH_S: Final = 61.0
_PAUSE_S: Final = 5.0
"""Between attempts while nobody answers."""
_NOT_OLDER_S: Final = 600.0
"""For so long; a revision that nobody has confirmed since then may have been a lie itself."""


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
        """One that has just come; gives what clients get.

        Raises:
            Corrupted: it is no such file.
        """
        _require_sense(wanted, content)
        key, now = (wanted.origin, wanted.path), self._now()
        before = self._entries.get(key)
        counts = before is not None and now - before.fetched <= _NOT_OLDER_S
        if before is not None and counts and _is_older(wanted, content, before.content):
            before.fresh_until = now + _PAUSE_S
            return replace(self._aged(before, now), outcome=Outcome.STALE)
        entry = _Entry(
            content, Found.in_memory(wanted, content), now, now + self._freshness.fresh_s
        )
        self._entries[key] = entry
        self._entries.move_to_end(key)
        self._trim()
        is_same = before is not None and before.content == content
        outcome = Outcome.REVALIDATED if is_same else Outcome.MISS
        return replace(entry.found, outcome=outcome)

    def keep(self, wanted: Resource, content: bytes, age: int) -> Found:
        """One that another worker looks after: kept for when nobody answers, not given before."""
        now = self._now()
        entry = _Entry(content, Found.in_memory(wanted, content), now - age, now)
        self._entries[wanted.origin, wanted.path] = entry
        self._trim()
        return self._aged(entry, now)

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
        """There is none any more."""
        self._entries.pop((wanted.origin, wanted.path), None)

    def doubt(self, wanted: Resource) -> None:
        """It is to be asked for at the next request; it is still better than nothing."""
        entry = self._entries.get((wanted.origin, wanted.path))
        if entry is not None:
            entry.fresh_until = 0.0

    def expire(self, fqrn: str) -> None:
        """There is news of a repository: whatever is here of it may be old."""
        for _, entry in [
            each for each in self._entries.items() if each[0][1].startswith(f"{fqrn}/")
        ]:
            entry.fresh_until = 0.0

    def _trim(self) -> None:
        while len(self._entries) > self._freshness.entries:
            self._entries.popitem(last=False)

    @staticmethod
    def _aged(entry: _Entry, now: float) -> Found:
        """With its age, for the caches below."""
        age = int(now - entry.fetched)
        if age != entry.age:
            head = entry.found.resource.head(len(entry.content))
            entry.found = replace(entry.found, head=b"Age: %d\r\n%s" % (age, head))
            entry.age = age
        return entry.found


def _require_sense(wanted: Resource, content: bytes) -> None:
    """Tell error pages and other repositories' files apart; whom to believe clients know.

    Raises:
        Corrupted: this is no such file.
    """
    fqrn, _, name = wanted.path.rpartition("/")
    try:
        if name == MANIFEST:
            found = Manifest.parse(content).fqrn
        elif name == WHITELIST:
            found = Whitelist.parse(content).fqrn
        else:
            if name.endswith(".json"):
                json.loads(content)
            return
    except (FormatError, ValueError, RecursionError) as error:
        raise Corrupted(f"{wanted.path}: {error}") from error
    if found is not None and found.name != fqrn:
        raise Corrupted(f"{wanted.path} is of {found.name}")


def _is_older(wanted: Resource, content: bytes, before: bytes) -> bool:
    """Whether a manifest is of an older revision than the one that was given already."""
    if not wanted.path.endswith(f"/{MANIFEST}"):
        return False
    try:
        new, old = Manifest.parse(content), Manifest.parse(before)
    except FormatError:
        return False
    return (new.revision, new.published_at) < (old.revision, old.published_at)
