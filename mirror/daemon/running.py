"""The daemon put together: workers that serve, keepers that fetch, and what ties them.

    replicating ─ flips, looks ─► watching, outward, groups, systemd
        ▲                                     │
        └──────────── look now ◄──────────────┘

It lives as long as its context. `Daemon.reload` takes over another configuration and drops no
connection; runs of replicas that stay as they were go on.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Final

from mirror.config import Settings
from mirror.cvmfs.fqrn import Fqrn
from mirror.daemon.alarms import AlarmBoard, Thresholds
from mirror.daemon.giving import Giving
from mirror.daemon.instance import only_instance
from mirror.daemon.keeping import Keeping
from mirror.daemon.listed import write_lists
from mirror.daemon.outward import Inside, Outward
from mirror.daemon.replicating import Ears, Replicating
from mirror.daemon.sd_notify import Systemd
from mirror.daemon.situation import Flip, Situation
from mirror.daemon.watching import Watch, Watched, log_alarm
from mirror.errors import ConfigError
from mirror.serve.workers import Plan, Workers
from mirror.serve_plan import serve_plan

Say = Callable[[str], None]
_SPOOL_STAYS: Final = "storage.spool cannot change while the daemon runs; restart it instead"


class Daemon:
    """Use `running` to make one.

    Attributes:
        settings: that it follows.
        workers: processes that serve.
        keeping: all keepers.
        groups: the mirrors behind the same name, if there are any.
        situations: of all replicas.
        outward: what others see of us.
    """

    def __init__(self, read: Callable[[], Settings], say: Say, systemd: Systemd) -> None:
        """``read`` gives the configuration as it is now; ``say`` takes what operators should know.

        Raises:
            ConfigError: it cannot be read, or not be followed.
        """
        self._read = read
        self._say = say
        self._systemd = systemd
        self._is_over = False
        self.settings = read()
        self.workers = Workers(say)
        self.keeping = Keeping(looked=lambda _fqrn: self._watch.nudge())
        self.situations: dict[Fqrn, Situation] = {}
        self._giving = Giving(lambda: self.settings, self.situations, self._look, say)
        self.groups = self._giving.groups
        self._board = AlarmBoard(self.situations.values, self._thresholds)
        self._watch = Watch(self._watched())
        self.outward = Outward(self._inside())
        self._replicating = Replicating(self.situations, self.keeping, self._ears())

    # --- beginning, changing, ending --------------------------------------------------------------

    async def start(self) -> None:
        """Serve, then fetch.

        Raises:
            ConfigError, StoreError: it cannot be done as configured.
        """
        prepared = await self.outward.prepare(self.settings)
        try:
            await self.outward.start()
            await self._giving.follow(self.settings)
            await self.workers.follow(self._plan(self.settings))
        except BaseException:
            prepared.drop()
            raise
        self.keeping.start()
        await self._replicating.follow(self.settings)
        self.groups.start()
        await self.outward.open(self.settings, prepared)
        await self.outward.listen(self.settings)
        await write_lists(self.settings, self._say)
        self._watch.start()
        self._systemd.ready(self.summary())

    async def reload(self) -> None:
        """Take over the configuration as it is now.

        Raises:
            ConfigError: it is wrong; everything goes on as before.
        """
        settings = self._read()
        if settings.storage.spool != self.settings.storage.spool:
            raise ConfigError([_SPOOL_STAYS])
        prepared = await self.outward.prepare(settings)
        self._systemd.reloading()
        try:
            await self._giving.follow(settings)
            await self.workers.follow(self._plan(settings))
        except BaseException:
            prepared.drop()
            raise
        else:
            self.settings = settings
            await self.outward.open(settings, prepared)
            await self._replicating.follow(settings)
            await self.outward.listen(settings)
            self.groups.start()
            await write_lists(settings, self._say)
            self._giving.withholding.again()
            self._watch.nudge()
        finally:
            self._systemd.ready(self.summary())

    async def stop(self, within_s: float | None = None) -> None:
        """Fetch no more, then let clients end well: in that time, or in what is configured."""
        if self._is_over:
            return
        self._is_over = True
        self._systemd.stopping()
        await self._watch.stop()
        await self._replicating.leave()
        await self.keeping.stop()
        await self.groups.close()
        await self.outward.stop()
        await self.workers.stop(within_s)

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

    # --- what happens to replicas -----------------------------------------------------------------

    def _kept(self, fqrn: Fqrn) -> None:
        situation = self.situations[fqrn]
        self._giving.tell(situation)
        if situation.served is not None:
            self.outward.tell(fqrn)

    def _flipped(self, fqrn: Fqrn, flip: Flip) -> None:
        self._say(f"{fqrn}: revision {flip.revision.number} is served, after {flip.seconds:.1f} s")
        self.groups.serves(fqrn, flip.revision)
        self.outward.tell(fqrn)
        self._watch.nudge()

    def _forgotten(self, fqrn: Fqrn) -> None:
        self.outward.forget(fqrn)
        self._giving.withholding.forget(fqrn)

    def _look(self, fqrn: Fqrn) -> None:
        if fqrn in self.keeping.keepers:
            self.keeping.look(fqrn)

    # --- how the parts know each other ------------------------------------------------------------

    def _plan(self, settings: Settings) -> Plan:
        return serve_plan(settings, daemon=self.outward.socket)

    def _ears(self) -> Ears:
        return Ears(
            kept=self._kept,
            flipped=self._flipped,
            forgotten=self._forgotten,
            before_flip=self._giving.before_flip,
            is_told=self.outward.is_announced,
        )

    def _inside(self) -> Inside:
        return Inside(
            settings=lambda: self.settings,
            situations=lambda: self.situations,
            board=self._board,
            workers=self.workers,
            waiting=lambda: self._replicating.waiting,
            look=self.keeping.look,
            more=(self.groups.add_routes,),
        )

    def _watched(self) -> Watched:
        return Watched(
            situations=self.situations.values,
            board=self._board,
            refuse_after_s=self._refuse_after_s,
            withholding=self._giving.withholding,
            is_serving=lambda: bool(self.workers.processes),
            summary=self.summary,
            systemd=self._systemd,
            emit=log_alarm,
            now=lambda: datetime.now(UTC),
        )

    def _thresholds(self, _fqrn: Fqrn) -> Thresholds:
        run = self.settings.run
        return Thresholds(stale_s=run.stale_s, whitelist_s=run.whitelist_warning_s)

    def _refuse_after_s(self, fqrn: Fqrn) -> float | None:
        found = (each for each in self.settings.replica if each.name == fqrn.name)
        configured = next(found, None)
        return configured.refuse_after_s if configured is not None else None


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
        try:
            await daemon.start()
            yield daemon
        finally:
            await daemon.stop()
