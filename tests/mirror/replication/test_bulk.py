"""What is done between staging and revealing, with lanes that only pretend."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from mirror.cvmfs.catalog import ObjectRef
from mirror.cvmfs.content_hash import Algorithm, ContentHash
from mirror.errors import StoreFull
from mirror.replication.bulk import LaneBulk
from mirror.replication.lanes import Lanes, NotByLane, Part, Wanted
from mirror.replication.spread import Spread
from mirror.store.local import LocalStore
from tests.support.loops import run

REFS = [ObjectRef(ContentHash.of(Algorithm.SHA1, b"%d" % n), n, is_packed=True) for n in range(600)]
HASHES = [ref.hash for ref in REFS]


class Pretence(LocalStore):
    """Lanes, the spread over sources, and the store, which take notes.

    Attributes:
        notes: what was done, in order.
        wanted: what was fetched.
        failing: is not brought.
        lost: is staged, but cannot be revealed.
        asked_before: for what, and whom.
        is_full: whether what was staged does not reach the disk.
        has_started: whether processes were asked for.
    """

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.notes: list[str] = []
        self.wanted: list[Wanted] = []
        self.failing: set[ContentHash] = set()
        self.lost: set[ContentHash] = set()
        self.asked_before: dict[ContentHash, frozenset[int]] = {}
        self.is_full = self.has_started = False

    def start(self) -> None:
        """As `Lanes.start`."""
        self.has_started = True

    async def look(self, hashes: Sequence[ContentHash]) -> set[ContentHash]:
        """As `Lanes.look`."""
        await asyncio.sleep(0)
        return {*hashes[:3]}

    async def fetch(self, wanted: Sequence[Wanted]) -> list[Part]:
        """As `Spread.fetch`."""
        self.notes.append("stage")
        self.wanted += wanted
        await asyncio.sleep(0)
        failing = [each.content_hash for each in wanted if each.content_hash in self.failing]
        sizes = [None if each.content_hash in self.failing else 7 for each in wanted]
        errors = dict.fromkeys(failing, NotByLane("not today"))
        return [Part(wanted, sizes, errors, cast("Any", self), 1)]

    def asked(self, content_hash: ContentHash) -> frozenset[int]:
        """As `Spread.asked`."""
        return self.asked_before.get(content_hash, frozenset())

    async def sync(self) -> None:
        """As `LocalStore.sync`."""
        await asyncio.sleep(0)
        self.notes.append("sync")
        if self.is_full:
            raise StoreFull("no room")

    async def reveal(self, part: Part) -> bool:
        """As `Lanes.reveal`."""
        self.notes.append("reveal")
        await asyncio.sleep(0)
        return not {each.content_hash for each in part.wanted} & self.lost

    async def close(self) -> None:
        """As `Spread.close`."""


@pytest.fixture
def pretence(tmp_path: Path) -> Pretence:
    """Nothing has happened yet."""
    return Pretence(tmp_path)


def bulk_of(pretence: Pretence) -> LaneBulk:
    """What is tested."""
    return LaneBulk(cast("Lanes", pretence), cast("Spread", pretence), pretence)


def fetched(pretence: Pretence, refs: Sequence[ObjectRef]) -> set[ContentHash]:
    """What is brought of these."""

    async def main() -> set[ContentHash]:
        bulk = bulk_of(pretence)
        try:
            return {*await bulk.fetch(refs)}
        finally:
            await bulk.close()

    return run(main())


def test_nothing_is_revealed_before_it_is_on_the_disk(pretence: Pretence) -> None:
    """All of it is staged, then there is a sync, and then it gets its names."""
    assert fetched(pretence, REFS) == {*HASHES}
    parts = pretence.notes.count("stage")
    assert parts > 1
    assert pretence.notes == ["stage"] * parts + ["sync"] + ["reveal"] * parts


def test_what_is_not_on_the_disk_is_not_revealed(pretence: Pretence) -> None:
    """The error is that of the store; what is staged is swept in the end."""
    pretence.is_full = True
    with pytest.raises(StoreFull):
        fetched(pretence, REFS)
    assert "reveal" not in pretence.notes


def test_what_did_not_come_is_left(pretence: Pretence) -> None:
    """To the careful way; the others are brought."""
    pretence.failing = {*HASHES[::3]}
    assert fetched(pretence, REFS) == {*HASHES} - pretence.failing


def test_another_attempt(pretence: Pretence) -> None:
    """For what somebody else may have; together what may come from the same ones."""
    pretence.asked_before = dict.fromkeys(HASHES[:100], frozenset({1}))
    pretence.asked_before |= dict.fromkeys(HASHES[100:110], frozenset({2}))

    async def main() -> set[ContentHash]:
        bulk = bulk_of(pretence)
        bulk.start()
        try:
            return {*await bulk.fetch_again(REFS[:10] + REFS[90:120])}
        finally:
            await bulk.close()

    assert run(main()) == {*HASHES[:10], *HASHES[90:110]}
    assert pretence.notes.count("stage") == 2


def test_nobody_else_has_it(pretence: Pretence) -> None:
    """Then there is no other attempt."""

    async def main() -> None:
        bulk = bulk_of(pretence)
        assert await bulk.fetch_again(REFS) == {}
        await bulk.close()

    run(main())
    assert pretence.notes == []


def test_what_was_not_revealed_was_not_brought(pretence: Pretence) -> None:
    """A part whose lane has died in the meantime."""
    pretence.lost = {HASHES[0]}
    brought = fetched(pretence, REFS)
    assert HASHES[0] not in brought
    assert HASHES[-1] in brought


def test_nothing_came(pretence: Pretence) -> None:
    """Then nothing is revealed."""
    pretence.failing = {*HASHES}
    assert fetched(pretence, REFS) == set()
    assert "reveal" not in pretence.notes


def test_large_objects_are_left(pretence: Pretence) -> None:
    """Their bytes cost more than that there are so many of them."""
    large = [ObjectRef(ref.hash, 512 * 1024 + 1, is_packed=True) for ref in REFS[:10]]
    assert fetched(pretence, [*large, *REFS[10:]]) == {*HASHES[10:]}


def test_how_large_an_object_may_be(pretence: Pretence) -> None:
    """As stored it may be a little larger than unpacked; a lane takes no more."""
    fetched(pretence, REFS)
    limits = {each.content_hash: each.max_bytes for each in pretence.wanted}
    assert all(ref.size_bytes < limits[ref.hash] <= 2**17 for ref in REFS)


def test_few_objects_are_not_worth_it(pretence: Pretence) -> None:
    """Until many were looked at, or missing, or it is known that there will be many."""

    async def main() -> None:
        bulk = bulk_of(pretence)
        assert await bulk.look(HASHES[:200]) is None
        assert await bulk.fetch(REFS[:200]) == {}
        assert await bulk.look(HASHES[200:500]) == {*HASHES[200:203]}
        assert len(await bulk.fetch(REFS[:200])) == 200
        await bulk.close()

    run(main())
    assert not pretence.has_started  # they start when they are asked


@pytest.mark.parametrize("is_known", [True, False])
def test_many_are_worth_it_at_once(pretence: Pretence, is_known: bool) -> None:
    """Also for a repair, which looks for itself."""

    async def main() -> None:
        bulk = bulk_of(pretence)
        if is_known:
            bulk.start()
            assert len(await bulk.fetch(REFS[:5])) == 5
        else:
            assert await bulk.fetch(REFS[:499]) == {}
            assert len(await bulk.fetch(REFS[:5])) == 5
        await bulk.close()

    run(main())
    assert pretence.has_started == is_known
