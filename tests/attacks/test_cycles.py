"""Catalogs that lead back to themselves. Content hashes make that impossible; we do not rely on it.

So the walk is given a world in which it is possible.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from mirror.cvmfs.catalog import NestedRef, ObjectRef
from mirror.cvmfs.content_hash import Algorithm, ContentHash, Suffix
from mirror.cvmfs.limits import Limits
from mirror.cvmfs.paths import object_path
from mirror.errors import Failure, FormatError
from mirror.replication.graph import CatalogRef, Role
from mirror.replication.walk import Walk


def name(letter: str) -> ContentHash:
    """The hash of the catalog called by this letter, whatever is in it."""
    return ContentHash.of(Algorithm.SHA1, letter.encode(), Suffix.CATALOG)


@dataclass(eq=False)
class MadeUpCatalog:
    """A catalog with no objects."""

    nested: Sequence[NestedRef]
    predecessor: ContentHash | None
    is_small: bool = True

    def objects(self) -> Iterator[ObjectRef]:
        """None."""
        return iter(())

    def close(self) -> None:
        """Nothing is open."""


@dataclass(eq=False)
class MadeUpWorld:
    """A `Visitor` to catalogs that refer to whatever they are told to refer to.

    Attributes:
        nested: each catalog's letter, and those nested in it.
        predecessors: each root's letter, and the root before it.
        completed: letters, in their order.
        abandoned: likewise.
        failures: what was reported.
    """

    nested: Mapping[str, str]
    predecessors: Mapping[str, str] = field(default_factory=dict)
    completed: list[str] = field(default_factory=list)
    abandoned: list[str] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

    async def open_catalog(self, ref: CatalogRef) -> MadeUpCatalog:
        """It is always there."""
        letter = self._letter(ref)
        before = self.predecessors.get(letter)
        nested = [
            NestedRef(f"{ref.mount_point}/{each}", name(each), 1) for each in self._in(letter)
        ]
        return MadeUpCatalog(nested, name(before) if before else None)

    async def missing(self, refs: Sequence[ObjectRef]) -> Sequence[ObjectRef]:
        """There are no objects."""
        return ()

    async def deliver_in_bulk(self, refs: Sequence[ObjectRef]) -> Sequence[ObjectRef]:
        """There are no objects."""
        return refs

    async def deliver_elsewhere(self, refs: Sequence[ObjectRef]) -> Sequence[ObjectRef]:
        """There are no objects."""
        return refs

    async def deliver(self, ref: ObjectRef) -> None:
        """There are no objects."""

    async def complete(self, ref: CatalogRef, catalog: MadeUpCatalog) -> None:
        """Take note."""
        self.completed.append(self._letter(ref))

    async def abandon(self, ref: CatalogRef, catalog: MadeUpCatalog) -> None:
        """Take note."""
        self.abandoned.append(self._letter(ref))

    def report(self, failure: Failure) -> None:
        """Take note."""
        self.failures.append(failure)

    def _in(self, letter: str) -> str:
        return self.nested.get(letter, "")

    def _letter(self, ref: CatalogRef) -> str:
        known: set[str] = {
            *self.nested,
            *"".join(self.nested.values()),
            *self.predecessors.values(),
        }
        return next(letter for letter in known if name(letter) == ref.hash)


def walk(world: MadeUpWorld, roots: str) -> None:
    """Walk through it; whoever waits for ever is cut short."""

    async def run() -> None:
        async with asyncio.timeout(10):
            refs = [CatalogRef(name(each), "", Role.HEAD) for each in roots]
            await Walk(world, Limits()).run(refs)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("nested", "caught"),
    [
        ({"A": "A"}, "A"),
        ({"A": "B", "B": "A"}, "AB"),
        ({"A": "B", "B": "C", "C": "B"}, "ABC"),
        ({"A": "BC", "B": "D", "C": "D", "D": "A"}, "ABCD"),
    ],
    ids=["in itself", "in each other", "below", "by two ways"],
)
def test_cycle(nested: dict[str, str], caught: str) -> None:
    """Catalogs that wait for each other are given up, every one with its name, and none is kept."""
    world = MadeUpWorld(nested)
    walk(world, "A")
    assert {failure.name for failure in world.failures} == {object_path(name(c)) for c in caught}
    assert all(isinstance(failure.error, FormatError) for failure in world.failures)
    assert "in itself" in str(world.failures[0])
    assert (world.completed, sorted(world.abandoned)) == ([], list(caught))


def test_cycle_of_predecessors() -> None:
    """Nor can the past of a root lead back to it."""
    world = MadeUpWorld({"A": ""}, {"A": "B", "B": "A"})
    walk(world, "A")
    assert len(world.failures) == 2
    assert world.completed == []


def test_what_is_sound_beside_a_cycle() -> None:
    """A cycle costs only what leads to it: other trees are completed, children before parents."""
    world = MadeUpWorld({"A": "AX", "R": "ST", "S": "T"})
    walk(world, "AR")
    assert [letter for letter in world.completed if letter != "X"] == ["T", "S", "R"]
    assert "X" in world.completed
    assert world.abandoned == ["A"]
