"""What siblings are given: what is here or can be fetched, and nothing by way of a sibling."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Final, Protocol

from mirror.serve.content import Found
from mirror.serve.resources import Resource
from mirror.serve.shelf import Outcome, Refusal, Shelf, Tell
from proxy.siblings.words import Told, refused

_FIELDS: Final = tuple(each.name for each in fields(Resource))


class OwnShelf(Shelf, Protocol):
    """A shelf that can be told to ask nobody but upstreams."""

    def seek(
        self, line: bytes, wanted: Resource, tell: Tell, *, is_sibling: bool = False
    ) -> Callable[[], None]:
        """As `Shelf.seek`; for a sibling no other sibling is asked."""

    async def find(
        self, wanted: Resource, *, is_fresh: bool = False, is_sibling: bool = False
    ) -> Found | None:
        """As `Shelf.find`; likewise."""


class SiblingShelf:
    """A `Shelf` for those who come in at the door for siblings."""

    def __init__(self, shelf: OwnShelf) -> None:
        """Give what is on ``shelf``, and say how it got there."""
        self._shelf = shelf

    def at_hand(self, line: bytes) -> Found | None:
        """As `Shelf.at_hand`."""
        found = self._shelf.at_hand(line)
        return None if found is None else _told(found)

    def named(self, line: bytes) -> Resource | None:
        """As `Shelf.named`."""
        return self._shelf.named(line)

    def asked(self, path: str, origin: str) -> Resource | None:
        """As `Shelf.asked`."""
        try:
            return self._shelf.asked(path, origin)
        except Refusal as refusal:
            raise refused(refusal) from refusal

    def seek(self, line: bytes, wanted: Resource, tell: Tell) -> Callable[[], None]:
        """As `Shelf.seek`."""

        def heard(outcome: Outcome) -> None:
            if isinstance(outcome, Refusal):
                outcome = refused(outcome)
            tell(_told(outcome) if isinstance(outcome, Found) else outcome)

        return self._shelf.seek(line, wanted, heard, is_sibling=True)

    async def find(self, wanted: Resource, *, is_fresh: bool = False) -> Found | None:
        """As `Shelf.find`."""
        try:
            found = await self._shelf.find(wanted, is_fresh=is_fresh, is_sibling=True)
        except Refusal as refusal:
            raise refused(refusal) from refusal
        return None if found is None else _told(found)


def _told(found: Found) -> Found:
    wanted = found.resource
    known = {each: getattr(wanted, each) for each in _FIELDS}
    told = Told(**known, outcome=found.outcome)
    return replace(found, resource=told, head=told.prefix + found.head)
