"""All replicas, each in its own rhythm.

APScheduler's clock rings for one replica at a time; when its keeper has looked, the next time is
set. A push rings at once and does not wait for the clock.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.date import DateTrigger

from mirror.cvmfs.fqrn import Fqrn
from mirror.daemon.keeper import Keeper
from mirror.daemon.rhythm import Hours, Rhythm, next_allowed, pause_s

_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Timetable:
    """When one replica is looked at.

    Attributes:
        rhythm: how often.
        hours: of the day, host time; at any hour if there are none. A push comes at any hour.
        is_told: whether publications are announced just now.
    """

    rhythm: Rhythm
    hours: Sequence[Hours] = ()
    is_told: Callable[[], bool] = lambda: False


class Keeping:
    """Keepers and their clock."""

    def __init__(
        self,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        chance: Callable[[], float] = random.random,
        looked: Callable[[Fqrn], None] = lambda _fqrn: None,
    ) -> None:
        """Keep nothing yet; ``looked`` hears of the end of each look, good or bad."""
        self._now = now
        self._chance = chance
        self._looked = looked
        self._keepers: dict[Fqrn, Keeper] = {}
        self._timetables: dict[Fqrn, Timetable] = {}
        self._looks: dict[Fqrn, set[asyncio.Task[None]]] = {}
        self._scheduler = AsyncIOScheduler(timezone=UTC)

    @property
    def keepers(self) -> Mapping[Fqrn, Keeper]:
        """Of all replicas that are kept."""
        return self._keepers

    def start(self) -> None:
        """Start the clock."""
        self._scheduler.start()

    async def stop(self) -> None:
        """Stop it, and what is going on: whatever was fetched is kept, as after any stop."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)
        for fqrn in list(self._keepers):
            await self.forget(fqrn)

    async def keep(self, keeper: Keeper, timetable: Timetable) -> None:
        """Look after one more replica, first at once; instead of an older keeper of the same."""
        await self.forget(keeper.fqrn)
        await keeper.begin()
        self._keepers[keeper.fqrn] = keeper
        self._timetables[keeper.fqrn] = timetable
        self._set(keeper.fqrn, self._now())

    async def forget(self, fqrn: Fqrn) -> None:
        """Look after a replica no longer; its files stay."""
        self._keepers.pop(fqrn, None)
        self._timetables.pop(fqrn, None)
        with suppress(JobLookupError):
            self._scheduler.remove_job(fqrn.name)
        tasks = self._looks.pop(fqrn, set())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def look(self, fqrn: Fqrn, *, is_told: bool = True) -> asyncio.Task[None]:
        """Look at a replica now, whatever the clock says.

        Args:
            fqrn: which of those that are kept.
            is_told: somebody says that there is news.
        """
        task = asyncio.get_running_loop().create_task(self._look(fqrn, is_told=is_told))
        tasks = self._looks.setdefault(fqrn, set())
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        return task

    async def _look(self, fqrn: Fqrn, *, is_told: bool) -> None:
        keeper = self._keepers.get(fqrn)
        if keeper is None:
            return  # it is just being replaced, and will be looked at then
        try:
            await keeper.look(is_told=is_told)
        except Exception:  # noqa: BLE001 - a mistake of ours must not end service for the others
            _log.exception("%s: looking failed for a reason nobody thought of", fqrn)
            keeper.situation.failures += 1
        self._looked(fqrn)
        if self._keepers.get(fqrn) is keeper:
            self._set(fqrn, self._next(keeper))

    def _next(self, keeper: Keeper) -> datetime:
        timetable, situation = self._timetables[keeper.fqrn], keeper.situation
        now = self._now()
        published = situation.upstream.published_at if situation.upstream else now.timestamp()
        quiet_s = max(0.0, now.timestamp() - published)
        pause = pause_s(
            timetable.rhythm,
            quiet_s,
            situation.failures,
            self._chance,
            is_told=timetable.is_told(),
        )
        return now + timedelta(seconds=pause)

    def _set(self, fqrn: Fqrn, moment: datetime) -> None:
        local = moment.astimezone()  # hours are the host's
        at = next_allowed(local, self._timetables[fqrn].hours)
        self._keepers[fqrn].situation.next_look = at.astimezone(UTC)
        self._scheduler.add_job(
            self._ring,
            DateTrigger(at),
            args=[fqrn],
            id=fqrn.name,
            replace_existing=True,
            misfire_grace_time=None,  # however late: a look that was missed is made up for
        )

    async def _ring(self, fqrn: Fqrn) -> None:
        if fqrn in self._keepers:
            self.look(fqrn, is_told=False)
