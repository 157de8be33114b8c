"""One object on its way: what clients are given, and when, whatever upstreams do."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from mirror.cvmfs.paths import parse_object_path
from mirror.errors import Corrupted
from mirror.serve.content import FileRange, Found, Outcome
from mirror.serve.resources import resource
from mirror.serve.shelf import Outcome as Told
from mirror.serve.shelf import Refusal
from proxy.arrived import Arrived
from proxy.flight import HELD_BACK_BYTES, Flight
from tests.support.loops import run, turns
from tests.support.proxies import Made, made

LARGE = 200_000


class Follower:
    """Somebody who waits."""

    def __init__(self, flight: Flight) -> None:
        self.told: list[Told] = []
        self.cancel = flight.follow(self.told.append)

    @property
    def found(self) -> Found:
        """What it was given."""
        (found,) = self.told
        assert isinstance(found, Found)
        return found

    def front(self) -> bytes:
        """All that may be read by now."""
        body = self.found.body
        return bytes(body.at_hand(0, body.size_bytes) or b"")


def flight_of(wanted: Made, landed: list[bytes | FileRange] | None = None) -> Flight:
    """Its flight; what landed is noted."""

    def land(flight: Flight, whole: bytes | FileRange) -> Found:
        if landed is not None:
            landed.append(whole)
        assert isinstance(whole, bytes)
        return Found.in_memory(flight.wanted, whole)

    about = resource(wanted.path)
    assert about is not None
    return Flight(about, parse_object_path(wanted.name), None, land)


def test_small() -> None:
    """A small object is given when its hash is known, and not before."""

    async def main() -> None:
        wanted = made(1)
        flight = flight_of(wanted)
        follower = Follower(flight)
        flight.begun(1000)
        flight.received(wanted.content)
        assert not follower.told
        flight.ended()
        assert follower.front() == wanted.content

    run(main())


def test_the_last_bytes_are_held_back() -> None:
    """Of a large one, as much is given as came, but for the end."""

    async def main() -> None:
        wanted = made(1, LARGE)
        flight = flight_of(wanted)
        follower = Follower(flight)
        flight.begun(LARGE)
        flight.received(wanted.content[:50_000])
        assert follower.front() == wanted.content[:50_000]
        flight.received(wanted.content[50_000:])
        assert follower.front() == wanted.content[: LARGE - HELD_BACK_BYTES]
        flight.ended()
        assert follower.front() == wanted.content

    run(main())


def test_wrong_bytes_are_never_completed() -> None:
    """Nothing lands, nothing more is given, and who reads hears of it."""

    async def main() -> None:
        wanted, landed = made(1, LARGE), list[bytes | FileRange]()
        flight = flight_of(wanted, landed)
        follower = Follower(flight)
        flight.begun(LARGE)
        flight.received(bytes(LARGE))
        with pytest.raises(Corrupted):
            flight.ended()
        flight.failed(Refusal(502, "no"))
        assert landed == []
        assert follower.found.body.at_hand(LARGE - 1, LARGE) is None
        with pytest.raises(OSError, match="no"):
            await follower.found.body.read(LARGE - 1, LARGE)

    run(main())


def test_another_upstream_goes_on() -> None:
    """Who has the front gets the rest, if the other one begins alike."""

    async def main() -> None:
        wanted = made(1, LARGE)
        flight = flight_of(wanted)
        follower = Follower(flight)
        flight.begun(LARGE)
        flight.received(wanted.content[:90_000])
        flight.begun(LARGE)
        flight.received(wanted.content[:10_000])
        assert follower.front() == wanted.content[:90_000]
        flight.begun(LARGE)
        flight.received(wanted.content)
        flight.ended()
        assert follower.front() == wanted.content

    run(main())


@pytest.mark.parametrize("sizes", [(LARGE, LARGE), (LARGE + 1, LARGE), (LARGE, None)])
def test_another_upstream_differs(sizes: tuple[int, int | None]) -> None:
    """Who has a wrong front is cut; who comes later gets what is right."""

    async def main() -> None:
        wanted = made(1, LARGE)
        flight = flight_of(wanted)
        follower = Follower(flight)
        flight.begun(sizes[0])
        flight.received(b"x" * 90_000)
        flight.begun(sizes[1])
        flight.received(wanted.content)
        with pytest.raises(OSError, match="two ways"):
            await follower.found.body.read(0, 1)
        late = Follower(flight)
        flight.ended()
        await turns(2)
        assert late.front() == wanted.content

    run(main())


def test_a_length_that_was_a_lie() -> None:
    """Right bytes under a wrong length are kept, but no client counts on that length."""

    async def main() -> None:
        wanted, landed = made(1, LARGE), list[bytes | FileRange]()
        flight = flight_of(wanted, landed)
        follower = Follower(flight)
        flight.begun(LARGE + 5)
        flight.received(wanted.content)
        flight.ended()
        assert landed == [wanted.content]
        with pytest.raises(OSError, match="two ways"):
            await follower.found.body.read(0, 1)

    run(main())


def test_outcomes() -> None:
    """The first one missed, the others were spared that; so is who comes late."""

    async def main() -> None:
        wanted = made(1, LARGE)
        flight = flight_of(wanted)
        followers = [Follower(flight) for _ in range(3)]
        followers.pop(1).cancel()
        flight.begun(LARGE)
        followers.append(Follower(flight))
        await turns(2)
        expected = [Outcome.MISS, Outcome.COALESCED, Outcome.COALESCED]
        assert [each.found.outcome for each in followers] == expected
        assert flight.followers == 4

    run(main())


def test_who_comes_after_a_failure() -> None:
    """It is told of it: nobody waits for what will not come."""

    async def main() -> None:
        flight = flight_of(made(1))
        early = Follower(flight)
        flight.failed(Refusal(502, "no"))
        late, leaving = Follower(flight), Follower(flight)
        leaving.cancel()
        await turns(2)
        assert [len(each.told) for each in (early, late, leaving)] == [1, 1, 0]

    run(main())


# --- where it gathers -----------------------------------------------------------------------------


def filled(arrived: Arrived, pieces: int) -> bytes:
    """Bytes, after they were added."""
    content = made(3, pieces * 100_000).content
    for at in range(pieces):
        arrived.add(content[at * 100_000 : (at + 1) * 100_000])
    return content


def test_arrived_in_a_file(tmp_path: Path) -> None:
    """Many bytes gather in a file that has no name."""
    arrived = Arrived(tmp_path)
    content = filled(arrived, 30)
    assert isinstance(arrived.whole, FileRange)
    assert arrived.read(0, len(content)) == content
    assert not list(tmp_path.iterdir())


def test_arrived_without_a_directory(tmp_path: Path) -> None:
    """Where there is none to write to, they stay in memory."""
    for directory in (None, tmp_path / "nothing"):
        arrived = Arrived(directory)
        assert filled(arrived, 30) == arrived.whole


@pytest.mark.parametrize("fails_after", [0, 1, 5])
def test_a_disk_that_fills_up(
    fails_after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle, even of one write: nothing is lost."""
    write: Callable[[int, bytes, int], int] = os.pwrite
    left = fails_after

    def full(descriptor: int, content: bytes, at: int) -> int:
        nonlocal left
        left -= 1
        if left < -1:
            raise OSError(28, "No space left on device")
        return write(descriptor, content if left >= 0 else content[:10], at)

    monkeypatch.setattr(os, "pwrite", full)
    arrived = Arrived(tmp_path)
    content = filled(arrived, 30)
    assert arrived.whole == content


def test_begins_like(tmp_path: Path) -> None:
    """The same front is told from another one, wherever either lies."""
    one, same, other = Arrived(tmp_path), Arrived(None), Arrived(None)
    content = filled(one, 25)
    same.add(content[:2_400_000])
    other.add(content[:2_300_000] + b"x" * 100_000)
    assert one.begins_like(same, 2_400_000)
    assert not one.begins_like(other, 2_400_000)
    assert one.begins_like(other, 2_300_000)
