"""A keeper of a replica in memory, beside the Stratum 0 that it follows."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from mirror.daemon.keeper import Keeper, Kept
from mirror.daemon.situation import Flip, Situation
from mirror.daemon.turns import Turns
from mirror.replication.snapshot import SnapshotReport, SnapshotRun
from mirror.upstream.sources import Sources
from tests.support.clock import NOW
from tests.support.replicas import Mirror


@dataclass
class FakeJourney:
    """As `mirror.wiring` makes them, but to a simulated Stratum 0."""

    kept: KeptMirror

    @property
    def sources(self) -> Sources:
        """All of them."""
        return Sources.of(self.kept.mirror.upstream)

    async def run(self) -> SnapshotReport:
        """A run."""
        self.kept.runs += 1
        mirror = self.kept.mirror
        run = SnapshotRun(mirror.replica, mirror.upstream, self.kept.now, self.kept.situation.hear)
        return await run.run()


class KeptMirror:
    """A mirror and its keeper.

    Attributes:
        mirror: as tests know it.
        keeper: of it.
        flips: that its keeper told of.
        runs: that were begun.
        now: moved by hand.
    """

    def __init__(self, mirror: Mirror, turns: Turns | None = None) -> None:
        self.mirror = mirror
        self.situation = Situation(mirror.repository.fqrn)
        self.flips: list[Flip] = []
        self.runs = 0
        self.now: datetime = NOW
        kept = Kept(mirror.repository.fqrn, mirror.store, self._travel)
        self.keeper = Keeper(
            kept,
            self.situation,
            turns or Turns(4, time.monotonic),
            self.flips.append,
            lambda: self.now,
        )

    def later(self, **by: float) -> None:
        """Time goes by."""
        self.now += timedelta(**by)

    @asynccontextmanager
    async def _travel(self) -> AsyncIterator[FakeJourney]:
        yield FakeJourney(self)
