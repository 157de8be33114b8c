"""Facts the rooms emit. Progress bars, logs and metrics listen; nobody answers.

Logic calls ``emit(ObjectsStored(…))`` and knows nothing of who hears it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mirror.cvmfs.content_hash import ContentHash
from mirror.cvmfs.fqrn import Fqrn
from mirror.cvmfs.manifest import Manifest
from mirror.errors import Failure


@dataclass(frozen=True, slots=True)
class Event:
    """What happened to one replica."""

    fqrn: Fqrn


@dataclass(frozen=True, slots=True)
class SnapshotStarted(Event):
    """A run began; ``source`` is the URL it fetches from."""

    source: str
    is_initial: bool


@dataclass(frozen=True, slots=True)
class ManifestAccepted(Event):
    """The origin's signatures hold; ``revision`` is what the run will bring."""

    revision: int
    served_revision: int | None
    manifest: Manifest | None = None


@dataclass(frozen=True, slots=True)
class ObjectsWanted(Event):
    """A catalog refers to so many objects that are not here; sizes are unpacked ones."""

    count: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class ObjectsPresent(Event):
    """So many objects a catalog refers to were here already."""

    count: int


@dataclass(frozen=True, slots=True)
class ObjectsStored(Event):
    """Objects were fetched, verified and committed.

    Attributes:
        count: how many.
        stored_bytes: as fetched.
        size_bytes: unpacked, as their catalogs state it; what `ObjectsWanted` announced.
    """

    count: int
    stored_bytes: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class CatalogStored(Event):
    """A catalog was committed, so everything below ``mount_point`` is here."""

    content_hash: ContentHash
    mount_point: str
    stored_bytes: int


@dataclass(frozen=True, slots=True)
class RootSkipped(Event):
    """An old root catalog is gone at the origin, collected as garbage; ``wanted_by`` asked."""

    content_hash: ContentHash
    wanted_by: str


@dataclass(frozen=True, slots=True)
class FetchRetried(Event):
    """An attempt to fetch ``path`` failed for ``reason`` and is made again."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class SourceFailed(Event):
    """One of several sources did not deliver ``path`` for ``reason``; another one is asked."""

    source: str
    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class SourceSuspended(Event):
    """A source is not asked for ``pause_s``, if others can be, for ``reason``."""

    source: str
    pause_s: float
    reason: str


@dataclass(frozen=True, slots=True)
class SourceRecovered(Event):
    """A source that was suspended delivers again."""

    source: str


@dataclass(frozen=True, slots=True)
class SourceLied(Event):
    """A source delivered other bytes for ``path`` than its hash names; they were thrown away."""

    source: str
    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class SourcePassedOver(Event):
    """A source's manifest does not count for ``reason``: invalid, expired, older, not to be had."""

    source: str
    reason: str
    is_older: bool = False


@dataclass(frozen=True, slots=True)
class ObjectFailed(Event):
    """An object could not be brought home; the others go on, but nothing will be published."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class ReflogHealed(Event):
    """The reflog and its checksum did not fit; ``how`` says what was done."""

    how: str


@dataclass(frozen=True, slots=True)
class SnapshotFinished(Event):
    """The run ended well and ``revision`` is served."""

    revision: int


Emit = Callable[[Event], None]
"""Hears events; must not raise and must not wait."""


def ignore(_event: Event) -> None:
    """Hear nothing."""
