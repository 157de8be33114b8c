from __future__ import annotations

import asyncio

import pytest

from mirror.cvmfs.content_hash import Algorithm, ContentHash
from mirror.cvmfs.paths import object_path
from mirror.errors import Corrupted, MirrorError, NotFound, Refused, TooLarge, TooSlow, Unavailable
from mirror.replication.transfer import fetch_verified
from mirror.store.memory import MemoryStore
from tests.support.faults import (
    Fault,
    corrupted,
    endless,
    hanging,
    refused,
    reset_after,
    slow,
    truncated,
    unavailable,
)
from tests.support.loops import is_cancelled_at, run
from tests.support.simulated import SimulatedStratum0
from tests.support.watched import FullDisk, WatchedStore

CONTENT = b"0123456789" * 10_000
NAME = ContentHash.of(Algorithm.SHA1, CONTENT)
PATH = object_path(NAME)


def test_what_was_fetched_is_verified_and_not_visible() -> None:
    """The caller decides: it may commit."""
    store, stratum0 = MemoryStore(), SimulatedStratum0({PATH: CONTENT})

    async def main() -> None:
        async with await fetch_verified(stratum0, store, NAME, 2**20) as upload:
            assert store.objects == {}
            assert upload.size_bytes == len(CONTENT)
            await upload.commit(NAME)

    run(main())
    assert store.objects == {NAME: CONTENT}
    assert stratum0.paths == [PATH]


def test_another_path() -> None:
    """Where an object lies elsewhere upstream, its name proves it all the same."""
    store, stratum0 = MemoryStore(), SimulatedStratum0({".cvmfsalt-x": CONTENT})

    async def main() -> None:
        await (await fetch_verified(stratum0, store, NAME, 2**20, ".cvmfsalt-x")).abort()

    run(main())
    assert stratum0.paths == [".cvmfsalt-x"]


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (truncated, Corrupted),
        (corrupted, Corrupted),
        (slow, TooSlow),
        (endless, TooLarge),
        (refused, Refused),
        (unavailable, Unavailable),
        (reset_after(0), Unavailable),
        (reset_after(50_000), Unavailable),
    ],
)
def test_what_does_not_arrive_leaves_nothing(fault: Fault, error: type[MirrorError]) -> None:
    """Whatever goes wrong on the way, the upload is aborted."""
    store, stratum0 = MemoryStore(), SimulatedStratum0({PATH: CONTENT})
    stratum0.faults[PATH] = fault
    with pytest.raises(error):
        run(fetch_verified(stratum0, store, NAME, 2**20))
    assert store.open_uploads == 0
    assert store.objects == {}


def test_what_is_not_there_was_never_begun() -> None:
    """No answer, no upload."""
    store = MemoryStore()
    with pytest.raises(NotFound):
        run(fetch_verified(SimulatedStratum0({}), store, NAME, 2**20))
    assert store.open_uploads == 0


def test_a_full_disk_leaves_nothing() -> None:
    """An error of the store aborts as well."""
    store = MemoryStore()
    full = WatchedStore(store, FullDisk(50_000, notices_at="write"))
    with pytest.raises(MirrorError, match="no space left"):
        run(fetch_verified(SimulatedStratum0({PATH: CONTENT}), full, NAME, 2**20))
    assert store.open_uploads == 0


@pytest.mark.parametrize("is_hanging", [False, True])
def test_cancelled_at_any_moment(*, is_hanging: bool) -> None:
    """Whoever is cancelled before the upload is theirs leaves none behind."""
    store, stratum0 = MemoryStore(), SimulatedStratum0({PATH: CONTENT})
    if is_hanging:
        stratum0.faults[PATH] = hanging

    async def main() -> None:
        for turn in range(30):
            fetching = asyncio.ensure_future(fetch_verified(stratum0, store, NAME, 2**20))
            if not await is_cancelled_at(turn, fetching):
                await fetching.result().abort()
            assert store.open_uploads == 0

    run(main())
