"""How far a run is, in numbers."""

from __future__ import annotations

from dataclasses import dataclass

from mirror.events import (
    CatalogStored,
    Event,
    ObjectFailed,
    ObjectsPresent,
    ObjectsStored,
    ObjectsWanted,
)


@dataclass(slots=True)
class Counts:
    """What the events of one run add up to; bytes as their events state them."""

    wanted: int = 0
    wanted_bytes: int = 0
    objects: int = 0
    object_bytes: int = 0
    fetched_bytes: int = 0
    catalogs: int = 0
    present: int = 0
    failed: int = 0

    def add(self, event: Event) -> None:
        """Take note of an event."""
        match event:
            case ObjectsWanted():
                self.wanted += event.count
                self.wanted_bytes += event.size_bytes
            case ObjectsStored():
                self.objects += event.count
                self.object_bytes += event.size_bytes
                self.fetched_bytes += event.stored_bytes
            case CatalogStored():
                self.catalogs += 1
                self.fetched_bytes += event.stored_bytes
            case ObjectsPresent():
                self.present += event.count
            case ObjectFailed():
                self.failed += 1
