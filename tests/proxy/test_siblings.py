"""Workers of one host share the work: each object is fetched by the one it belongs to."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest

from mirror.errors import ConfigError
from mirror.serve.content import FileRange, Found, Outcome
from mirror.serve.resources import resource
from mirror.serve.shelf import Refusal
from proxy.cache.disk import DiskTier
from proxy.flight import Flight
from proxy.roots import Freshness, Roots
from proxy.siblings.door import Directory
from proxy.siblings.flight import AskedFlight
from tests.support.loops import run
from tests.support.site_proxy import (
    FQRN,
    STATUS,
    Node,
    SiteProxy,
    late_mirror,
    objects,
    site_proxy,
)

COUNT = 200
LARGE = 700_000


def slot_of(path: str, workers: int) -> int:
    """Which worker an object belongs to."""
    return DiskTier.partition_of(path.partition(f"{FQRN}/")[2].encode()) % workers


async def ask(url: str, files: dict[str, bytes], paths: Sequence[str], *headers: str) -> None:
    """A node that wants these, and gets them right."""
    async with Node(url) as node:
        for path in paths:
            answer = await node.get(path, *headers)
            assert (answer.status, answer.body) == (200, files[path])
            assert "sibling-outcome" not in answer.headers


async def ask_somehow(url: str, files: dict[str, bytes], paths: Sequence[str]) -> None:
    """The same, whatever becomes of connections."""
    async with Node(url) as node:
        for path in paths:
            answer = await node.get_somehow(path)
            assert (answer.status, answer.body) == (200, files[path])


def some(files: dict[str, bytes], seed: int, count: int = COUNT) -> list[str]:
    """Paths in an order of this node's own."""
    return random.Random(seed).sample(sorted(files), count)


# --- one fetch for the host -----------------------------------------------------------------------


@pytest.mark.parametrize("workers", [2, 3])
def test_cold_objects_are_fetched_once_for_all_workers(tmp_path: Path, workers: int) -> None:
    """Whoever asks whom, and however many of them; and each is entered once as what it was."""
    files = objects(COUNT)

    async def main() -> None:
        async with (
            late_mirror(files) as mirror,
            site_proxy(tmp_path, [mirror.url], workers) as proxy,
        ):
            orders = [some(files, seed, 40) for seed in range(299)]
            orders.append(sorted(files))
            await asyncio.gather(*(ask(proxy.url, files, each) for each in orders))
            assert mirror.asked == dict.fromkeys(files, 1)
            assert (await proxy.outcomes(299 * 40 + COUNT))[Outcome.MISS] == COUNT

    run(main())


def test_large_objects_are_streamed_from_worker_to_worker(tmp_path: Path) -> None:
    """And fetched once, too."""
    files = objects(8, LARGE) | objects(2, 5 * LARGE)

    async def main() -> None:
        async with late_mirror(files) as mirror, site_proxy(tmp_path, [mirror.url], 2) as proxy:
            orders = [some(files, seed, 10) for seed in range(40)]
            await asyncio.gather(*(ask(proxy.url, files, each) for each in orders))
            assert mirror.asked == dict.fromkeys(files, 1)

    run(main())


def test_root_files_are_asked_for_once_a_minute_for_the_whole_host(tmp_path: Path) -> None:
    """Not once by each worker."""
    files = {STATUS: b"{}"}

    async def main() -> None:
        async with late_mirror(files) as mirror, site_proxy(tmp_path, [mirror.url], 3) as proxy:
            nodes = [ask(proxy.url, files, [STATUS] * 3) for _ in range(90)]
            await asyncio.gather(*nodes)
            assert mirror.asked == {STATUS: 1}
            named = [f"{mirror.url}{STATUS}"] * 3
            known = dict.fromkeys(named, files[STATUS])
            await asyncio.gather(*(ask(proxy.url, known, named) for _ in range(90)))
            assert mirror.asked == {STATUS: 2}  # who names a server means that one

    run(main())


def test_what_the_owner_is_refused_is_what_everybody_is_told(tmp_path: Path) -> None:
    """The origin's 404 passes; where nobody answers the proxy says that it is its own affair."""
    missing = next(iter(objects(1)))

    async def status(proxy: SiteProxy) -> tuple[int, bool]:
        async with Node(proxy.url) as node:
            answer = await node.get(missing)
            return answer.status, "proxy-status" in answer.headers

    async def statuses(proxy: SiteProxy) -> set[tuple[int, bool]]:
        return set(await asyncio.gather(*(status(proxy) for _ in range(60))))

    async def main() -> None:
        async with late_mirror({}) as mirror, site_proxy(tmp_path, [mirror.url], 2) as proxy:
            assert await statuses(proxy) == {(404, False)}
        async with site_proxy(tmp_path, ["http://127.0.0.1:9"], 2) as proxy:
            assert await statuses(proxy) == {(502, True)}

    run(main())


# --- whatever becomes of a worker -----------------------------------------------------------------


def test_a_killed_owner_is_done_without(tmp_path: Path) -> None:
    """Everybody gets right bytes; what belongs to the others is still fetched once."""
    files = objects(COUNT)

    async def main() -> None:
        async with late_mirror(files) as mirror, site_proxy(tmp_path, [mirror.url], 3) as proxy:
            orders = [some(files, seed) for seed in range(60)]
            asking = asyncio.gather(*(ask_somehow(proxy.url, files, each) for each in orders))
            while len(mirror.asked) < COUNT // 4:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0)
            os.kill(proxy.workers.processes[0], signal.SIGKILL)
            await asking
            twice = {path for path, count in mirror.asked.items() if count > 1}
            assert {slot_of(each, 3) for each in twice} <= {0}
            assert max(mirror.asked.values()) <= 3  # its own, its substitute's, its successor's

    run(main())


def test_a_rolling_restart_under_load_loses_no_request(tmp_path: Path) -> None:
    """Successors take over at their sockets, too."""
    files = objects(COUNT)

    async def load(proxy: SiteProxy, seed: int, is_over: asyncio.Event) -> int:
        rounds = 0
        while not is_over.is_set() or not rounds:
            await ask(proxy.url, files, some(files, seed + rounds, 50))
            rounds += 1
        return rounds

    async def main() -> None:
        async with late_mirror(files) as mirror, site_proxy(tmp_path, [mirror.url], 2) as proxy:
            is_over = asyncio.Event()
            loads = [load(proxy, 1000 * seed, is_over) for seed in range(40)]
            asking = asyncio.gather(*loads)
            for _ in range(2):
                await proxy.restart()
            is_over.set()
            await asking
        assert sorted(mirror.asked) == sorted(files)

    run(main())


def test_successors_own_what_their_predecessors_owned(tmp_path: Path) -> None:
    """What these had fetched is hits, and what is new is fetched once, and kept."""
    old, new = objects(COUNT), objects(COUNT, 5000)
    files = old | new

    async def main() -> None:
        async with late_mirror(files) as mirror, site_proxy(tmp_path, [mirror.url], 3) as proxy:
            for batch in (old, old | new, old | new):
                orders = [some(batch, seed, 100) for seed in range(60)]
                orders.append(sorted(batch))
                await asyncio.gather(*(ask(proxy.url, files, each) for each in orders))
                assert mirror.asked == dict.fromkeys(files if batch is not old else old, 1)
                await proxy.restart()
                await proxy.predecessors_gone()

    run(main())


def test_a_root_file_of_the_owners_is_given_only_while_nobody_answers() -> None:
    """How long it counts is the owner's affair."""
    roots, wanted = Roots(Freshness(), lambda: 100.0), resource(STATUS)
    assert wanted is not None
    assert b"Age: 7\r\n" in roots.keep(wanted, b"{}", 7).head
    assert roots.at_hand(wanted) is None
    found = roots.instead_of(wanted, Refusal(502, "nobody"))
    assert isinstance(found, Found)
    assert (found.content, found.outcome) == (b"{}", Outcome.STALE)


def test_who_waits_in_vain_for_an_owner_follows_a_flight_that_is_under_way() -> None:
    """And is told nothing any more after leaving."""
    wanted = resource(next(iter(objects(1))))
    assert wanted is not None
    told: list[str] = []

    def landed(flight: Flight, whole: bytes | FileRange) -> Found:
        assert isinstance(whole, bytes)
        return Found.in_memory(flight.wanted, whole)

    asked, flight = AskedFlight(wanted, None, None, landed), Flight(wanted, None, None, landed)
    asked.follow(lambda _: told.append("who stays"))
    leave = asked.follow(lambda _: told.append("who leaves"))
    assert asked.hand_over(flight)
    leave()
    flight.begun(2)
    flight.received(b"ab")
    flight.ended()
    assert told == ["who stays"]


# --- what must not happen -------------------------------------------------------------------------


def test_workers_that_are_mistaken_about_each_other_ask_in_no_circle(tmp_path: Path) -> None:
    """Sockets were swapped, and one is missing: everything is answered, and no time-out helps."""
    files = objects(COUNT)

    async def main() -> None:
        async with (
            late_mirror(files) as mirror,
            site_proxy(tmp_path, [mirror.url], 3, timeout_s=3600) as proxy,
            asyncio.timeout(60),
        ):
            first, second, third = (tmp_path / f"siblings/slot-{each}.sock" for each in range(3))
            first.rename(tmp_path / "siblings/x")
            second.rename(first)
            (tmp_path / "siblings/x").rename(second)
            third.unlink()
            orders = [some(files, seed, 40) for seed in range(100)]
            await asyncio.gather(*(ask(proxy.url, files, each) for each in orders))
            assert max(mirror.asked.values()) <= 3

    run(main())


def test_clients_cannot_pretend_to_be_siblings(tmp_path: Path) -> None:
    """What they say of themselves changes neither who fetches nor what they are told."""
    files = objects(20)
    said = ("Sibling-Outcome: hit_mem", "Sibling-Reason: none", "Via: 1.1 x")

    async def main() -> None:
        async with late_mirror(files) as mirror, site_proxy(tmp_path, [mirror.url], 2) as proxy:
            orders = [some(files, seed, 20) for seed in range(40)]
            nodes = [ask(proxy.url, files, each, *said) for each in orders]
            await asyncio.gather(*nodes)
            assert mirror.asked == dict.fromkeys(files, 1)

    run(main())


def test_only_we_may_come_to_the_sockets(tmp_path: Path) -> None:
    """A directory that others may enter is refused, and ours lets in nobody else."""
    (tmp_path / "open").mkdir(mode=0o755)
    with pytest.raises(ConfigError, match="closed to all others"):
        Directory(tmp_path / "open")
    Directory(tmp_path / "ours").close()
    assert (tmp_path / "ours").stat().st_mode & 0o777 == 0o700


def test_an_upstream_is_not_believed_about_outcomes(tmp_path: Path) -> None:
    """Its answers are misses, whatever its headers say."""
    files = objects(10)

    async def main() -> None:
        async with late_mirror(files) as mirror, site_proxy(tmp_path, [mirror.url], 2) as proxy:
            mirror.more = "Sibling-Outcome: hit_mem\r\n"
            await ask(proxy.url, files, sorted(files))
            assert await proxy.outcomes(10) == {Outcome.MISS: 10}

    run(main())
