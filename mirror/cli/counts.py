"""How far a run is, in numbers."""

from __future__ import annotations

from mirror.events import (
    CatalogStored,
    Event,
    ObjectFailed,
    ObjectsPresent,
    ObjectsStored,
    ObjectsWanted,
)


class Counts:
    """What the events of one run add up to; bytes as their events state them."""

    def __init__(self) -> None:
        self.wanted = self.wanted_bytes = 0
        self.objects = self.object_bytes = 0
        self.catalogs = self.present = self.failed = self.fetched_bytes = 0

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
