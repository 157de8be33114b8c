"""Lanes as they are: processes, with a real server, a real disk, and somebody who kills them."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from textwrap import dedent

import pytest

from mirror.cvmfs.content_hash import Algorithm, ContentHash
from mirror.cvmfs.paths import TEMPORARIES, object_path
from mirror.errors import Corrupted, NotFound
from mirror.replication import lanes as lanes_module
from mirror.replication.lane_options import LaneOptions
from mirror.replication.lanes import LanePool, Lanes, NotByLane, Wanted
from mirror.store.local import LocalStore
from mirror.upstream.concurrency import ConcurrencyRange
from mirror.upstream.lean import Server
from mirror.upstream.options import HttpOptions
from tests.support import loops
from tests.support.disks import tiny_disk
from tests.support.hostile_http import Endless, content, status, truncated
from tests.support.http_stratum0 import HttpStratum0
from tests.support.loops import is_cancelled_at, run, turns
from tests.support.processes import is_over, most_memory_bytes, open_descriptors, started
from tests.support.tasks import until

MAX_BYTES = 100_000
BODIES = [b"object %d" % number * 100 for number in range(40)]


def named(body: bytes) -> ContentHash:
    """What an object is called."""
    return ContentHash.of(Algorithm.SHA1, body)


def wanted(bodies: Iterable[bytes]) -> list[Wanted]:
    """An order."""
    return [Wanted(named(body), MAX_BYTES) for body in bodies]


def path_of(body: bytes) -> str:
    """Where an object lies, at the server and in the store."""
    return object_path(named(body))


class Yard:
    """A server, a store, and lanes between them.

    Attributes:
        stratum0: the server.
        store: the store.
    """

    def __init__(self, stratum0: HttpStratum0, root: Path) -> None:
        self.stratum0 = stratum0
        self.store = LocalStore(root)
        self.store.prepare_now()

    @asynccontextmanager
    async def lanes(self, count: int = 1) -> AsyncIterator[Lanes]:
        """So many."""
        server = Server.at(self.stratum0.url, HttpOptions())
        options = LaneOptions([server], self.store.staging(), ConcurrencyRange(lowest=1))
        async with LanePool(count) as pool, Lanes(pool, options) as lanes:
            yield lanes

    @property
    def visible(self) -> dict[str, bytes]:
        """All that has a name."""
        data = self.store.root / "data"
        files = data.glob("[0-9a-f][0-9a-f]/*")
        return {f"data/{each.parent.name}/{each.name}": each.read_bytes() for each in files}

    @property
    def temporaries(self) -> list[str]:
        """All that has none yet."""
        return [each.name for each in (self.store.root / TEMPORARIES).iterdir()]


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Yard]:
    """With forty objects at the server and none in the store."""
    with HttpStratum0({path_of(body): body for body in BODIES}) as stratum0:
        yield Yard(stratum0, tmp_path / "srv")


def processes(lanes: Lanes) -> list[int]:
    """Their numbers."""
    return [each._process.pid for each in lanes._pool._lanes]


# --- what they are for ----------------------------------------------------------------------------


def test_objects_are_staged_and_then_revealed(yard: Yard) -> None:
    """Between the two somebody can make them durable; nobody sees them before."""

    async def main() -> None:
        async with yard.lanes(2) as lanes:
            part = await lanes.fetch(wanted(BODIES))
            assert part.sizes == [len(body) for body in BODIES]
            assert not part.errors
            assert not yard.visible
            assert len(yard.temporaries) == len(BODIES)
            assert await lanes.reveal(part)
            assert not yard.temporaries

    run(main())
    assert yard.visible == {path_of(body): body for body in BODIES}


def test_what_is_not_revealed_is_forgotten(yard: Yard) -> None:
    """By wish, or in the end."""

    async def main() -> None:
        async with yard.lanes() as lanes:
            first, second = [await lanes.fetch(wanted(BODIES[n::2])) for n in (0, 1)]
            assert len(yard.temporaries) == len(BODIES)
            lanes.drop(first)
            until(lambda: len(yard.temporaries) == second.count)

    run(main())
    assert not yard.temporaries
    assert not yard.visible


def test_what_nobody_waits_for_is_not_fetched(yard: Yard) -> None:
    """Orders not sent yet are withdrawn, and what comes all the same is thrown away."""

    async def main() -> None:
        async with yard.lanes() as lanes:
            await lanes.look([])  # a lane is up
            waiting = asyncio.create_task(lanes.fetch(wanted(BODIES)))
            await turns(3)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            part = await lanes.fetch(wanted(BODIES))
            assert await lanes.reveal(part)
            until(lambda: not yard.temporaries)
            assert not any(lane.outstanding for lane in lanes._pool._lanes)

    run(main())
    assert yard.visible == {path_of(body): body for body in BODIES}


def test_nothing_is_not_waited_for(yard: Yard) -> None:
    """An order of nothing is carried out."""

    async def main() -> None:
        async with yard.lanes() as lanes:
            part = await lanes.fetch([])
            assert await lanes.reveal(part)
            assert await lanes.look([]) == set()

    run(main())


def test_wrong_bytes_are_not_kept(yard: Yard) -> None:
    """They are told apart from what is missing, and from what did not come; the others are."""
    lie, missing, busy, broken, *good = BODIES
    faults = yard.stratum0.faults
    faults[path_of(lie)] = content(b"other bytes")
    faults[path_of(missing)] = status(404)
    faults[path_of(busy)] = status(503)
    faults[path_of(broken)] = truncated(broken)

    async def main() -> None:
        async with yard.lanes() as lanes:
            part = await lanes.fetch(wanted(BODIES))
            kinds = {each: type(error) for each, error in part.errors.items()}
            assert kinds == {
                named(lie): Corrupted,
                named(missing): NotFound,
                named(busy): NotByLane,
                named(broken): NotByLane,
            }
            assert part.count == len(good)
            assert await lanes.reveal(part)

    run(main())
    assert yard.visible == {path_of(body): body for body in good}


def test_an_honest_hash_of_the_wrong_kind(yard: Yard) -> None:
    """The same bytes are another object with another suffix, and another with another algorithm."""
    body = BODIES[0]
    other = ContentHash.of(Algorithm.RMD160, body)
    yard.stratum0.files = {object_path(other): BODIES[1]}

    async def main() -> None:
        async with yard.lanes() as lanes:
            part = await lanes.fetch([Wanted(other, MAX_BYTES)])
            assert isinstance(part.errors[other], Corrupted)
            yard.stratum0.files = {object_path(other): body}
            part = await lanes.fetch([Wanted(other, MAX_BYTES)])
            assert await lanes.reveal(part)

    run(main())
    assert yard.visible == {object_path(other): body}


def test_damage_is_replaced(yard: Yard) -> None:
    """An object with other bytes of the same length is not left as it is."""
    body = BODIES[0]
    (yard.store.root / path_of(body)).write_bytes(b"x" * len(body))

    async def main() -> None:
        async with yard.lanes() as lanes:
            assert await lanes.reveal(await lanes.fetch(wanted([body])))

    run(main())
    assert yard.visible == {path_of(body): body}


def test_looking(yard: Yard) -> None:
    """Which are there."""
    for body in BODIES[:5]:
        (yard.store.root / path_of(body)).write_bytes(body)

    async def main() -> None:
        async with yard.lanes() as lanes:
            found = await lanes.look([named(body) for body in BODIES])
            assert found == {named(body) for body in BODIES[:5]}

    run(main())


def test_sources_have_numbers(yard: Yard, tmp_path: Path) -> None:
    """A lane knows several."""

    async def main(other: HttpStratum0) -> None:
        servers = [Server.at(each.url, HttpOptions()) for each in (yard.stratum0, other)]
        options = LaneOptions(servers, yard.store.staging(), ConcurrencyRange())
        async with LanePool(1) as pool, Lanes(pool, options) as lanes:
            for number, count in enumerate([len(BODIES), 1]):
                assert (await lanes.fetch(wanted(BODIES), number)).count == count

    with HttpStratum0({path_of(BODIES[0]): BODIES[0]}) as other:
        run(main(other))


# --- what the store cannot do ---------------------------------------------------------------------


def test_a_store_that_cannot_be_looked_at(yard: Yard) -> None:
    """Nothing is said to be there, and the lane goes on."""
    body = BODIES[0]
    fan = (yard.store.root / path_of(body)).parent
    fan.rmdir()
    fan.touch()

    async def main() -> None:
        async with yard.lanes() as lanes:
            assert not await lanes.look([named(body)])
            assert not await lanes.reveal(await lanes.fetch(wanted([body])))
            fan.unlink()
            fan.mkdir()
            assert await lanes.look([named(body)]) == set()
            assert await lanes.reveal(await lanes.fetch(wanted([body])))

    run(main())
    assert not yard.temporaries


def test_a_full_disk(yard: Yard, tmp_path: Path) -> None:
    """What does not fit is not brought; the careful way will find the word for it."""
    with tiny_disk(tmp_path / "disk", 2**20 * 2) as disk:
        small = Yard(yard.stratum0, disk / "srv")
        bodies = [b"%d" % number * 90_000 for number in range(40)]
        yard.stratum0.files = {path_of(body): body for body in bodies}

        async def main() -> None:
            async with small.lanes() as lanes:
                part = await lanes.fetch(wanted(bodies))
                assert 0 < part.count < len(bodies)
                assert {type(error) for error in part.errors.values()} == {NotByLane}
                assert await lanes.reveal(part)
                assert len(small.visible) == part.count
                assert not small.temporaries

        run(main())
        for path, stored in small.visible.items():
            assert stored == yard.stratum0.files[path]


# --- hostile servers ------------------------------------------------------------------------------


def test_bodies_without_an_end(yard: Yard) -> None:
    """Cost a lane no more memory than the objects might have."""
    endless = Endless()
    for body in BODIES[1:]:
        yard.stratum0.faults[path_of(body)] = endless

    async def main() -> None:
        async with yard.lanes() as lanes:
            part = await lanes.fetch(wanted(BODIES))
            assert part.count == 1
            assert most_memory_bytes(*processes(lanes)) < 150_000_000

    run(main())


# --- death ----------------------------------------------------------------------------------------


def test_killed_at_work(yard: Yard) -> None:
    """What it had in hand comes back; another goes on, and without any nothing is waited for."""
    is_asked = yard.stratum0.hang(path_of(BODIES[0]))

    async def main() -> None:
        async with yard.lanes(2) as lanes:
            under_way = asyncio.ensure_future(lanes.fetch(wanted(BODIES[:5])))
            await asyncio.to_thread(is_asked.wait)
            busy = next(each for each in lanes._pool._lanes if each.outstanding)
            os.kill(busy._process.pid, signal.SIGKILL)
            part = await under_way
            assert part.count == 0
            assert {str(error) for error in part.errors.values()} == {"its lane has ended"}
            assert not await lanes.reveal(part)
            assert (await lanes.fetch(wanted(BODIES[5:]))).count == len(BODIES) - 5
            for process in processes(lanes):
                if process != busy._process.pid:
                    os.kill(process, signal.SIGKILL)
            await loops.until(lambda: not any(each.is_alive for each in lanes._pool._lanes))
            assert (await lanes.fetch(wanted(BODIES))).count == 0

    run(main())
    assert not yard.temporaries


def test_killed_between_staging_and_revealing(yard: Yard) -> None:
    """Then nothing of it is brought, and nothing left."""

    async def main() -> None:
        async with yard.lanes() as lanes:
            part = await lanes.fetch(wanted(BODIES))
            os.kill(processes(lanes)[0], signal.SIGKILL)
            assert not await lanes.reveal(part)
            lanes.drop(part)

    run(main())
    assert not yard.visible
    assert not yard.temporaries


def test_one_that_does_not_stop(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is killed: nothing may go on behind the back of whoever clears up."""
    monkeypatch.setattr(lanes_module, "_PATIENCE_S", 0.01)

    async def main() -> list[int]:
        async with yard.lanes() as lanes:
            await lanes.fetch(wanted(BODIES))
            os.kill(processes(lanes)[0], signal.SIGSTOP)
            return processes(lanes)

    assert all(is_over(process) for process in run(main()))
    assert not yard.temporaries


def test_a_message_that_is_too_long(yard: Yard, capfd: pytest.CaptureFixture[str]) -> None:
    """Is the end of the lane that gets it, and of nobody else."""

    async def main() -> None:
        async with yard.lanes(2) as lanes:
            assert await lanes.look([]) == set()
            first, second = lanes._pool._lanes
            assert await first.ask(at=1, do="look", objects=["x" * 2**24]) is None
            assert not first.is_alive
            assert second.is_alive
            assert (await lanes.fetch(wanted(BODIES))).count == len(BODIES)

    run(main())


# --- beginning ------------------------------------------------------------------------------------


def test_no_lane_can_be_started(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    """No processes, no program: all is left to others, and no descriptor is lost."""
    monkeypatch.setattr(sys, "executable", "/nonexistent")

    async def main() -> None:
        async with yard.lanes(3) as lanes:
            lanes.start()
            part = await lanes.fetch(wanted(BODIES))
            assert part.count == 0
            assert await lanes.look([named(BODIES[0])]) is None
            assert not await lanes.reveal(part)

    open_before = open_descriptors()
    run(main())
    assert open_descriptors() == open_before


def test_no_descriptor_is_left(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same where not even a pair of sockets can be had; those that were, work."""
    pair, left = socket.socketpair, 1

    def scarce() -> object:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(errno.EMFILE, "Too many open files")
        return pair()

    async def main() -> None:
        monkeypatch.setattr(socket, "socketpair", scarce)
        async with yard.lanes(3) as lanes:
            assert (await lanes.fetch(wanted(BODIES))).count == len(BODIES)
            assert len(processes(lanes)) == 1

    run(main())


def test_none_at_all(yard: Yard) -> None:
    """As configured."""

    async def main() -> None:
        async with yard.lanes(0) as lanes:
            assert (await lanes.fetch(wanted(BODIES))).count == 0
            assert await lanes.look([]) is None

    run(main())


def test_never_started(yard: Yard) -> None:
    """Costs nothing."""

    async def main() -> None:
        async with yard.lanes(2) as lanes:
            assert not processes(lanes)

    run(main())


@pytest.mark.parametrize("turn", [*range(12), 30, 100, 1000])
def test_cancelled_while_they_start(yard: Yard, turn: int) -> None:
    """At any moment: no process stays."""
    seen: list[int] = []

    async def use() -> None:
        async with yard.lanes(3) as lanes:
            lanes.start()
            try:
                await lanes.fetch(wanted(BODIES))
            finally:
                pool = lanes._pool
                seen.extend(each._process.pid for each in pool._lanes)

    run(is_cancelled_at(turn, use()))
    assert all(is_over(process) for process in seen)
    assert not list(started("lane_process"))
    assert not yard.temporaries


# --- the end of others ----------------------------------------------------------------------------

PARENT = dedent(
    """
    import asyncio, sys
    from pathlib import Path
    from mirror.cvmfs.content_hash import ContentHash
    from mirror.replication.lane_options import LaneOptions
    from mirror.replication.lanes import LanePool, Lanes, Wanted
    from mirror.store.local import LocalStore
    from mirror.upstream.concurrency import ConcurrencyRange
    from mirror.upstream.lean import Server
    from mirror.upstream.options import HttpOptions

    async def main(url, root, *names):
        store = LocalStore(Path(root))
        servers = [Server.at(url, HttpOptions())]
        options = LaneOptions(servers, store.staging(), ConcurrencyRange())
        async with LanePool(2) as pool, Lanes(pool, options) as lanes:
            await lanes.look([])
            print(*(each._process.pid for each in pool._lanes), flush=True)
            await lanes.fetch([Wanted(ContentHash.parse(name), 100000) for name in names])

    asyncio.run(main(*sys.argv[1:]))
    """
)


def test_the_parent_is_killed(yard: Yard) -> None:
    """Then its lanes end, with nothing to say, whatever they are at."""
    is_asked = yard.stratum0.hang(path_of(BODIES[0]))
    names = [named(body).text for body in BODIES]
    command = [sys.executable, "-c", PARENT, yard.stratum0.url, str(yard.store.root), *names]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        lanes = [int(word) for word in parent.stdout.readline().split()]
        is_asked.wait()
        parent.kill()
        _, said = parent.communicate()  # which its lanes have inherited, so they have ended
    assert not said
    until(lambda: all(is_over(process) for process in lanes))
    yard.store.prepare_now()
    assert not yard.temporaries
    assert not yard.visible
