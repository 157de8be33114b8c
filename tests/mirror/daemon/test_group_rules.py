"""No client of a group ever goes back, whatever happens; and nobody waits longer than stated."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from random import Random
from typing import Final

import pytest

from mirror.daemon.group import flip
from mirror.daemon.group.council import Council
from mirror.daemon.group.member import Member
from mirror.daemon.group.message import Version
from tests.support.fleet import Fate, WentBack, World, heal, torment
from tests.support.loops import run_timeless

Memory = Mapping[str, Version] | None
SEEDS: Final = 400 if os.environ.get("CVMFS_MIRROR_SOAK") == "1" else 12
FATE: Final = Fate()
RECOVERY_S: Final = (
    FATE.fetch_s + FATE.wait_s + 2 * FATE.lease_s * flip.LEASE_MARGIN + 10.0
)  # a keeper's pause is 10 s


async def live(world: World, publications: int) -> None:
    """A hard life, with clients that watch; and a good end."""
    asking = asyncio.ensure_future(world.ask_on())
    try:
        for name in world.hosts:
            await world.begin(name)
        await world.until_all_give(world.published, RECOVERY_S)
        tormenting = asyncio.ensure_future(torment(world, publications, asking.done))
        await asyncio.wait([tormenting, asking], return_when=asyncio.FIRST_COMPLETED)
        if asking.done():
            tormenting.cancel()
            asking.result()
        await heal(world)
        await world.until_all_give(world.published, 2 * RECOVERY_S)
    finally:
        asking.cancel()
        with suppress(asyncio.CancelledError, WentBack):
            await asking
        await world.end()


@pytest.mark.parametrize("size", [2, 3, 4])
@pytest.mark.parametrize("seed", range(SEEDS))
def test_never_back(size: int, seed: int) -> None:
    """Losses, delays, cuts of either direction, crashes, stops; all clocks differ."""
    run_timeless(live(World(Fate(size), Random(f"{size} {seed}")), publications=25))


# --- the test is worth something: each rule that is broken is found out ---------------------------


def _no_waiting(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(flip.Flip, "_lapsed", lambda _self, _name: 0.0)


def _no_majority_for_flips(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Council, "is_majority", lambda _self, names: bool(set(names)))


def _no_lease(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Member, "lease_until", lambda self, now: now + self.lease_s)


def _no_memory(patch: pytest.MonkeyPatch) -> None:
    init = Member.__init__

    def forget(  # noqa: PLR0917 - as it is
        self: Member, name: str, council: Council, lease_s: float, now: float, memory: Memory
    ) -> None:
        init(self, name, council, lease_s, now, None if memory is None else {})

    patch.setattr(Member, "__init__", forget)


def _new_ones_are_believed(patch: pytest.MonkeyPatch) -> None:
    always = property(lambda _: False, lambda _self, _value: None)
    patch.setattr(Member, "is_new", always, raising=False)


def _answers_count_when_they_come(patch: pytest.MonkeyPatch) -> None:
    hear = Member.hear

    def late(self: Member, message: object, now: float, sent_at: float | None = None) -> None:
        hear(self, message, now, None if sent_at is None else now + 2.0)  # type: ignore[arg-type]

    patch.setattr(Member, "hear", late)


def _floors_are_not_obeyed(patch: pytest.MonkeyPatch) -> None:
    refusal = Member._refusal

    def deaf(self: Member, repository: str) -> str | None:
        floors, self._floors = self._floors, {}
        try:
            return refusal(self, repository)
        finally:
            self._floors = floors

    patch.setattr(Member, "_refusal", deaf)


BROKEN: Final = [
    _no_waiting,
    _no_majority_for_flips,
    _no_lease,
    _no_memory,
    _new_ones_are_believed,
    _answers_count_when_they_come,
    _floors_are_not_obeyed,
]


@pytest.mark.parametrize("broken", BROKEN, ids=lambda each: each.__name__.strip("_"))
def test_a_broken_rule_is_found_out(
    broken: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each rule is there for a reason that this test sees."""
    broken(monkeypatch)
    with pytest.raises(WentBack):
        _search()


def _search() -> None:
    for seed in range(300):
        run_timeless(_watched(seed))


async def _watched(seed: int) -> None:
    """Only going back counts here."""
    try:
        await live(World(Fate(), Random(f"broken {seed}")), publications=25)
    except WentBack:
        raise
    except AssertionError:
        return


# --- nobody waits longer than stated --------------------------------------------------------------


async def _flip_s(world: World, before: Callable[[World], Awaitable[None]]) -> float:
    """How long the next revision takes, after ``before`` happened to a group that is well."""
    asking = asyncio.ensure_future(world.ask_on())
    try:
        for name in world.hosts:
            await world.begin(name)
        await world.until_all_give(world.published, RECOVERY_S)
        await before(world)
        version, loop = world.publish(), asyncio.get_running_loop()
        began = loop.time()
        while world.seen < version:  # noqa: ASYNC110 - what is waited for tells nobody
            await asyncio.sleep(0.01)
        return loop.time() - began
    finally:
        asking.cancel()
        await world.end()


_LOOK_S: Final = 10.0 + FATE.fetch_s
"""Until the first one has it: a keeper's pause, and fetching."""
_EXCHANGES_S: Final = 2.0


async def _nothing(_world: World) -> None:
    """All are well."""


async def _dies(world: World) -> None:
    await world.crash("c")


async def _died_long_ago(world: World) -> None:
    await world.crash("c")
    await asyncio.sleep(2 * FATE.lease_s)


async def _hangs(world: World) -> None:
    world.hosts["c"].may_run.clear()


async def _is_cut_off(world: World) -> None:
    world.cut = {(one, two) for one in "abc" for two in "abc" if (one == "c") != (two == "c")}


async def _hears_nobody(world: World) -> None:
    world.cut = {("a", "c"), ("b", "c")}


async def _is_slow(world: World) -> None:
    await _stop_fetching(world, "c")


@pytest.mark.parametrize(
    ("before", "longest_s"),
    [
        (_nothing, _LOOK_S + FATE.fetch_s),
        (_died_long_ago, _LOOK_S + FATE.fetch_s),
        (_dies, _LOOK_S + FATE.fetch_s + FATE.lease_s * flip.LEASE_MARGIN),
        (_hangs, _LOOK_S + FATE.fetch_s + FATE.lease_s * flip.LEASE_MARGIN),
        (_is_cut_off, _LOOK_S + FATE.fetch_s + FATE.lease_s * flip.LEASE_MARGIN),
        (_hears_nobody, _LOOK_S + FATE.wait_s + FATE.lease_s * flip.LEASE_MARGIN),
        (_is_slow, _LOOK_S + FATE.wait_s),
    ],
    ids=lambda value: value.__name__.strip("_") if callable(value) else "",
)
@pytest.mark.parametrize("seed", range(8))
def test_one_member_delays_by_no_more_than_stated(
    before: Callable[[World], Awaitable[None]], longest_s: float, seed: int
) -> None:
    """Dead, hanging, cut off, or slow."""
    took_s = run_timeless(_flip_s(World(FATE, Random(seed)), before))
    assert took_s <= longest_s + _EXCHANGES_S


def test_half_is_not_enough() -> None:
    """Two that are cut off from two others: those with the first member by name go on."""

    async def cut_in_half() -> None:
        world = World(Fate(4), Random(5))
        for name in world.hosts:
            await world.begin(name)
        await world.until_all_give(world.published, RECOVERY_S)
        everybody = world.council.members
        world.cut = {(x, y) for x in everybody for y in everybody if (x in "ab") != (y in "ab")}
        version = world.publish()
        await asyncio.sleep(RECOVERY_S)
        gives = {name: host.gives for name, host in world.hosts.items()}
        assert gives == {"a": version, "b": version, "c": None, "d": None}
        await world.end()

    run_timeless(cut_in_half())


def test_not_before_another_one_is_ready() -> None:
    """One of three that is ready does not stop two that are not."""

    async def alone() -> None:
        world = World(FATE, Random(6))
        for name in world.hosts:
            await world.begin(name)
        await world.until_all_give(world.published, RECOVERY_S)
        for name in "bc":
            await _stop_fetching(world, name)
        was = world.published
        world.publish()
        await asyncio.sleep(10 * RECOVERY_S)
        assert {host.gives for host in world.hosts.values()} == {was}
        await world.end()

    run_timeless(alone())


async def _stop_fetching(world: World, name: str) -> None:
    """Its keeper ends; it goes on answering."""
    for task in world.hosts[name].tasks:
        task.cancel()
