"""No client of a group ever goes back, whatever happens; and nobody waits longer than stated."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
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
