"""The tests' own disks and servers do what they say."""

from __future__ import annotations

from contextlib import suppress

import pytest

from mirror.cvmfs.content_hash import Algorithm, ContentHash
from mirror.cvmfs.paths import MANIFEST, WHITELIST
from mirror.errors import Refused, StoreFull, TooLarge, TooSlow, Unavailable
from mirror.store.memory import MemoryStore
from mirror.upstream.base import Request, read_all
from tests.support.faults import (
    Fault,
    corrupted,
    endless,
    once,
    refused,
    reset_after,
    slow,
    truncated,
    unavailable,
)
from tests.support.loops import is_cancelled_at, run, turns
from tests.support.simulated import SimulatedStratum0
from tests.support.watched import FullDisk, Kill, Killed, Recorder, WatchedStore

NAME = ContentHash.of(Algorithm.SHA1, b"hello")


async def do_things(store: WatchedStore) -> None:
    """Four operations that write, and some that do not."""
    await store.present([NAME])
    async with store.upload(Algorithm.SHA1) as upload:
        await upload.write(b"hello")
        await upload.commit(NAME)
    await store.write_root_file(MANIFEST, b"manifest")
    await store.read_root_file(MANIFEST, 100)


def test_operations_are_recorded() -> None:
    """Those that write, in their order, with what they are about."""
    recorder = Recorder()
    run(do_things(WatchedStore(MemoryStore(), recorder)))
    kinds = [each.kind for each in recorder.operations]
    assert kinds == ["write", "commit", "abort", "write_root_file"]
    assert recorder.names("write_root_file") == [MANIFEST]


@pytest.mark.parametrize("is_last_told", [True, False])
@pytest.mark.parametrize("after", range(6))
def test_killed_after_so_many_operations(after: int, *, is_last_told: bool) -> None:
    """Exactly so many are done, and none after."""
    inner, recorder = MemoryStore(), Recorder()
    kill = Kill(after, is_last_told=is_last_told)
    store = WatchedStore(WatchedStore(inner, recorder), kill)
    with suppress(Killed):
        run(do_things(store))
    assert len(recorder.operations) == min(after, 4)
    assert kill.is_over == (after < 4 or (after == 4 and not is_last_told))
    if kill.is_over:
        with pytest.raises(Killed):
            run(store.present([NAME]))


@pytest.mark.parametrize(("free_bytes", "done"), [(0, 0), (4, 0), (5, 1), (12, 1), (13, 2)])
def test_full_after_so_many_bytes(free_bytes: int, done: int) -> None:
    """What does not fit is not written, not even a part of it."""
    inner = MemoryStore()
    store = WatchedStore(inner, FullDisk(free_bytes, notices_at="commit"))
    with suppress(StoreFull):
        run(do_things(store))
    assert len(inner.objects) + len(inner.root_files) == done
    with pytest.raises(StoreFull):
        run(store.write_root_file(WHITELIST, bytes(100)))


@pytest.mark.parametrize(
    ("fault", "arrives"),
    [
        (truncated, b"01234"),
        (corrupted, b"0123456788"),
        (once(corrupted), b"0123456788"),
        (slow, TooSlow),
        (endless, TooLarge),
        (refused, Refused),
        (unavailable, Unavailable),
        (reset_after(0), Unavailable),
        (reset_after(5), Unavailable),
    ],
)
def test_faults(fault: Fault, arrives: bytes | type[Exception]) -> None:
    """What arrives of ten bytes."""
    stratum0 = SimulatedStratum0({"file": b"0123456789"})
    stratum0.faults["file"] = fault
    if isinstance(arrives, bytes):
        assert run(stratum0.fetch(Request("file", 100), read_all)) == arrives
    else:
        with pytest.raises(arrives):
            run(stratum0.fetch(Request("file", 100), read_all))


def test_faults_may_pass() -> None:
    """The second attempt is an honest one."""
    stratum0 = SimulatedStratum0({"file": b"0123456789"})
    stratum0.faults["file"] = once(truncated)
    bodies = [run(stratum0.fetch(Request("file", 100), read_all)) for _ in range(2)]
    assert bodies == [b"01234", b"0123456789"]


@pytest.mark.parametrize(("turn", "is_cancelled"), [(0, True), (5, True), (50, False)])
def test_cancelling_at_a_turn(turn: int, *, is_cancelled: bool) -> None:
    """What had ended before is not cancelled."""
    assert run(is_cancelled_at(turn, turns(10))) == is_cancelled
