"""The daemon put together: workers that serve, keepers that fetch, and what ties them.

It lives as long as its context. `Daemon.reload` takes over another configuration and drops no
connection; runs of replicas that stay as they were go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

from mirror import wiring
from mirror.config import ReplicaSettings, Settings
from mirror.cvmfs.fqrn import Fqrn
from mirror.cvmfs.manifest import Manifest
from mirror.daemon.group.set_up import Groups, Place
from mirror.daemon.instance import only_instance
from mirror.daemon.keeper import Keeper, Kept
from mirror.daemon.keeping import Keeping, Timetable
from mirror.daemon.rhythm import Hours, Rhythm
from mirror.daemon.sd_notify import Systemd
from mirror.daemon.situation import Flip, Situation
from mirror.daemon.turns import Turns
from mirror.serve.workers import Workers
from mirror.serve_plan import serve_plan

Say = Callable[[str], None]


@dataclass(slots=True)
class _Ways:
    """What keepers share, and the end of it."""

    common: wiring.Shared
    turns: Turns
    stack: AsyncExitStack


class Daemon:
    """Use `running` to make one.

    Attributes:
        keeping: all keepers.
        workers: processes that serve.
        groups: the mirrors behind the same name, if there are any.
    """

    def __init__(self, read: Callable[[], Settings], say: Say, systemd: Systemd) -> None:
        """``read`` gives the configuration as it is now; ``say`` takes what operators should know.

        Raises:
            ConfigError: it cannot be read.
        """
        self._read = read
        self._say = say
        self._systemd = systemd
        self.settings = read()
        self.keeping = Keeping()
        self.workers = Workers(say)
        storage = self.settings.storage
        self.groups = Groups(
            Place(storage.path, storage.spool, self._look, self._withheld, self._say)
        )
        self._ways: _Ways | None = None
        self._on_flip: list[Callable[[Fqrn, Flip], None]] = []

    @property
    def situations(self) -> Mapping[Fqrn, Situation]:
        """Of all replicas."""
        return {fqrn: keeper.situation for fqrn, keeper in self.keeping.keepers.items()}

    @property
    def waiting(self) -> int:
        """Replicas that wait for their turn to fetch."""
        return self._ways.turns.waiting if self._ways is not None else 0

    def on_flip(self, hear: Callable[[Fqrn, Flip], None]) -> None:
        """Tell ``hear`` of every revision that comes before clients."""
        self._on_flip.append(hear)

    # --- beginning, changing, ending --------------------------------------------------------------

    async def start(self) -> None:
        """Serve, then fetch.

        Raises:
            ConfigError: it cannot be done as configured.
        """
        await self._follow_group(self.settings)
        await self.workers.follow(serve_plan(self.settings))
        self.keeping.start()
        await self._keep_all(self.settings)
        self.groups.start()
        self._systemd.ready(self.summary())

    async def reload(self) -> None:
        """Take over the configuration as it is now.

        Raises:
            ConfigError: it is wrong; everything goes on as before.
        """
        settings = self._read()
        self._systemd.reloading()
        try:
            await self._follow_group(settings)
            await self.workers.follow(serve_plan(settings))
            if _travels_differently(self.settings, settings):
                await self._leave_all()
            await self._keep_all(settings)
            self.groups.start()
        finally:
            self._systemd.ready(self.summary())

    async def stop(self) -> None:
        """Fetch no more, then let clients end well."""
        self._systemd.stopping()
        await self._leave_all()
        await self.keeping.stop()
        await self.groups.close()
        await self.workers.stop()

    def reopen(self) -> None:
        """Open logs anew."""
        self.workers.reopen()

    def summary(self) -> str:
        """One line."""
        situations = self.situations.values()
        served = sum(each.served is not None for each in situations)
        failing = sum(bool(each.failures) for each in situations)
        told = f"{served} of {len(situations)} repositories served"
        return f"{told}, {failing} failing" if failing else told

    # --- keepers ----------------------------------------------------------------------------------

    async def _keep_all(self, settings: Settings) -> None:
        """Keep what is configured, and only that; whatever has not changed goes on."""
        ways = await self._open_ways(settings)
        before = {each.name: each for each in self.settings.replica}
        wanted = {Fqrn(each.name): each for each in settings.replica}
        for fqrn in self.keeping.keepers.keys() - wanted.keys():
            await self.keeping.forget(fqrn)
        is_same_run = self.settings.run == settings.run
        self.settings = settings
        for fqrn, configured in wanted.items():
            is_kept = fqrn in self.keeping.keepers
            if not (is_kept and is_same_run and before.get(fqrn.name) == configured):
                await self._keep(fqrn, configured, ways)

    async def _keep(self, fqrn: Fqrn, configured: ReplicaSettings, ways: _Ways) -> None:
        known = self.keeping.keepers.get(fqrn)
        situation = known.situation if known is not None else Situation(fqrn)
        settings = self.settings
        kept = Kept(
            fqrn,
            wiring.local_store(settings, fqrn),
            partial(
                wiring.journey,
                settings,
                configured,
                situation.hear,
                ways.common,
                partial(self._before_flip, fqrn, ways.turns),
            ),
            configured.priority,
            settings.run.whitelist_s,
        )
        keeper = Keeper(kept, situation, ways.turns, partial(self._flipped, fqrn))
        await self.keeping.keep(keeper, _timetable(settings, configured))
        self._tell_group(situation)

    def _flipped(self, fqrn: Fqrn, flip: Flip) -> None:
        self._say(f"{fqrn}: revision {flip.revision.number} is served, after {flip.seconds:.1f} s")
        self._systemd.status(self.summary())
        self.groups.serves(fqrn, flip.revision)
        for hear in self._on_flip:
            hear(fqrn, flip)

    # --- the group --------------------------------------------------------------------------------

    async def _follow_group(self, settings: Settings) -> None:
        names = [each.name for each in settings.replica if not each.pass_through]
        await self.groups.follow(settings.group, names)
        for situation in self.situations.values():
            self._tell_group(situation)

    def _tell_group(self, situation: Situation) -> None:
        if situation.served is not None or situation.trouble is None:
            self.groups.serves(situation.fqrn, situation.served)

    async def _before_flip(self, fqrn: Fqrn, turns: Turns, manifest: Manifest) -> None:
        if self.groups.group is not None:
            async with turns.lent():
                await self.groups.before_flip(fqrn, manifest)

    def _look(self, name: str) -> None:
        fqrn = Fqrn(name)
        if fqrn in self.keeping.keepers:
            self.keeping.look(fqrn)

    def _withheld(self, name: str, reason: str | None) -> None:
        keeper = self.keeping.keepers.get(Fqrn(name))
        if keeper is not None:
            keeper.situation.withheld = reason

    async def _open_ways(self, settings: Settings) -> _Ways:
        if self._ways is None:
            at_once = settings.snapshot.parallel
            stack = AsyncExitStack()
            common = await stack.enter_async_context(wiring.shared(settings, at_once))
            turns = Turns(at_once, asyncio.get_running_loop().time)
            self._ways = _Ways(common, turns, stack)
        return self._ways

    async def _leave_all(self) -> None:
        for fqrn in list(self.keeping.keepers):
            await self.keeping.forget(fqrn)
        if self._ways is not None:
            ways, self._ways = self._ways, None
            await ways.stack.aclose()


@asynccontextmanager
async def running(
    read: Callable[[], Settings], say: Say, systemd: Systemd | None = None
) -> AsyncIterator[Daemon]:
    """The daemon, from its first client to its last.

    Args:
        read: gives the configuration as it is now.
        say: takes what operators should know.
        systemd: is told; the one of the environment if none is given.

    Raises:
        ConfigError: it cannot run as configured.
        Locked: another one keeps the same storage.
    """
    daemon = Daemon(read, say, systemd or Systemd())
    with only_instance(daemon.settings.storage.spool):
        async with _ended_well(daemon):
            await daemon.start()
            yield daemon


@asynccontextmanager
async def _ended_well(daemon: Daemon) -> AsyncIterator[None]:
    try:
        yield
    finally:
        await daemon.stop()


def _timetable(settings: Settings, configured: ReplicaSettings) -> Timetable:
    run = settings.run
    rhythm = Rhythm(run.interval_s, max(run.interval_s, run.slowest_s), run.backoff_s)
    return Timetable(rhythm, tuple(Hours(each.begins, each.ends) for each in configured.hours))


def _travels_differently(old: Settings, new: Settings) -> bool:
    """Whether lanes, limits of speed or places changed, which all keepers share."""
    return (old.storage, old.fetch, old.trust, old.snapshot) != (
        new.storage,
        new.fetch,
        new.trust,
        new.snapshot,
    )
