"""Which replicas are kept, as the configuration says; whatever has not changed goes on.

A replica that is taken out is forgotten, its tree stays. One that has changed gets another keeper,
and what is known of it is kept. Lanes and limits of speed are shared by all: if these change, every
keeper is replaced, and what runs fetched until then is not fetched again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial

from mirror import wiring
from mirror.config import ReplicaSettings, Settings
from mirror.cvmfs.fqrn import Fqrn
from mirror.cvmfs.manifest import Manifest
from mirror.daemon.keeper import Keeper, Kept
from mirror.daemon.keeping import Keeping, Timetable
from mirror.daemon.rhythm import Hours, Rhythm
from mirror.daemon.situation import Flip, Situation
from mirror.daemon.turns import Turns
from mirror.priority import Manners


@dataclass(frozen=True, slots=True)
class Ears:
    """Who hears of replicas.

    Attributes:
        kept: of one that is kept from now on; what it serves is known.
        flipped: of each revision that comes before clients.
        forgotten: of one that is not kept any more.
        before_flip: takes as long as a manifest may not come before clients; lends its turn then.
        is_told: tells whether publications of one are announced to us just now.
    """

    kept: Callable[[Fqrn], None]
    flipped: Callable[[Fqrn, Flip], None]
    forgotten: Callable[[Fqrn], None]
    before_flip: Callable[[Fqrn, Turns, Manifest], Awaitable[None]]
    is_told: Callable[[Fqrn], bool]


@dataclass(slots=True)
class _Ways:
    """What keepers share, and the end of it."""

    common: wiring.Shared
    turns: Turns
    stack: AsyncExitStack


class Replicating:
    """See above."""

    def __init__(self, situations: dict[Fqrn, Situation], keeping: Keeping, ears: Ears) -> None:
        """Keep nothing yet; what there is to know of replicas is in ``situations``."""
        self._situations = situations
        self._keeping = keeping
        self._ears = ears
        self._ways: _Ways | None = None
        self._travel: object = None
        self._made_from: dict[Fqrn, object] = {}

    @property
    def waiting(self) -> int:
        """Replicas that wait for their turn to fetch."""
        return self._ways.turns.waiting if self._ways is not None else 0

    async def follow(self, settings: Settings) -> None:
        """Keep what is configured, and only that."""
        travel = (settings.storage, settings.fetch, settings.trust, settings.snapshot)
        if self._travel != travel:
            await self.leave()
        ways = self._ways = self._ways or await _open(settings)
        self._travel = travel
        wanted = {Fqrn(each.name): each for each in settings.replica if not each.pass_through}
        for fqrn in self._situations.keys() - wanted.keys():
            await self._forget(fqrn)
        for fqrn, configured in wanted.items():
            made_from = (configured, _rhythm(settings), settings.run.whitelist_s)
            if self._made_from.get(fqrn) != made_from:
                self._made_from.pop(fqrn, None)
                await self._keep(fqrn, configured, settings, ways)
                self._made_from[fqrn] = made_from

    async def leave(self) -> None:
        """Keep nothing any more, until told to follow again; what is known is kept."""
        self._made_from.clear()
        for fqrn in list(self._keeping.keepers):
            await self._keeping.forget(fqrn)
        if self._ways is not None:
            ways, self._ways = self._ways, None
            await ways.stack.aclose()

    async def _keep(
        self, fqrn: Fqrn, configured: ReplicaSettings, settings: Settings, ways: _Ways
    ) -> None:
        situation = self._situations.setdefault(fqrn, Situation(fqrn))
        situation.know_sources(configured.sources)
        before_flip = partial(self._ears.before_flip, fqrn, ways.turns)
        kept = Kept(
            fqrn,
            wiring.local_store(settings, fqrn),
            partial(wiring.journey, settings, configured, situation.hear, ways.common, before_flip),
            configured.priority,
            settings.run.whitelist_s,
        )
        keeper = Keeper(kept, situation, ways.turns, partial(self._ears.flipped, fqrn))
        hours = tuple(Hours(each.begins, each.ends) for each in configured.hours)
        is_told = partial(self._ears.is_told, fqrn)
        await self._keeping.keep(keeper, Timetable(_rhythm(settings), hours, is_told))
        self._ears.kept(fqrn)

    async def _forget(self, fqrn: Fqrn) -> None:
        await self._keeping.forget(fqrn)
        self._made_from.pop(fqrn, None)
        del self._situations[fqrn]
        self._ears.forgotten(fqrn)


async def _open(settings: Settings) -> _Ways:
    at_once, asked = settings.snapshot.parallel, settings.snapshot
    stack = AsyncExitStack()
    manners = Manners(asked.io_priority, asked.nice)
    common = await stack.enter_async_context(wiring.shared(settings, at_once, manners))
    return _Ways(common, Turns(at_once, asyncio.get_running_loop().time), stack)


def _rhythm(settings: Settings) -> Rhythm:
    run = settings.run
    return Rhythm(run.interval_s, max(run.interval_s, run.slowest_s), run.backoff_s)
