"""One replica: look, fetch what is new, tell. Never twice at once.

A look at a repository without news costs one small request: its manifest, compared byte by byte
with the one we serve. Only something else starts a run, which verifies everything. Now and then a
run is made all the same, since whitelists are renewed without a new revision.

Who asks for a look while one is going on gets another one behind it: what was published after that
began may have been missed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Protocol

from mirror.cvmfs.fqrn import Fqrn
from mirror.cvmfs.limits import Limits
from mirror.cvmfs.paths import MANIFEST, WHITELIST
from mirror.cvmfs.whitelist import Whitelist
from mirror.daemon.situation import Flip, Phase, Revision, Run, Situation, Trouble
from mirror.daemon.turns import Turns
from mirror.errors import FormatError, Locked, MirrorError, StoreError, UpstreamError
from mirror.replication.replica import served_manifest
from mirror.replication.snapshot import SnapshotReport
from mirror.store.base import ObjectReader
from mirror.upstream.base import Request, read_all
from mirror.upstream.sources import Sources

_LIMITS: Final = Limits()


class Journey(Protocol):
    """The way to one repository's sources, while it is open."""

    @property
    def sources(self) -> Sources:
        """Stratum 0 and the mirrors."""

    async def run(self) -> SnapshotReport:
        """Bring the replica to the revision its sources are at.

        Raises:
            MirrorError: why not.
        """


@dataclass(frozen=True, slots=True)
class Kept:
    """What a keeper keeps.

    Attributes:
        fqrn: which repository.
        store: where its replica is.
        travel: opens the way to its sources; what happens on it is heard by the situation.
        priority: among those that wait for their turn.
        whitelist_s: seconds after which the whitelist is fetched anew though nothing changed.
    """

    fqrn: Fqrn
    store: ObjectReader
    travel: Callable[[], AbstractAsyncContextManager[Journey]]
    priority: int = 0
    whitelist_s: float = 3600.0


class Keeper:
    """See above; its situation is for everybody to read."""

    def __init__(
        self,
        kept: Kept,
        situation: Situation,
        turns: Turns,
        flipped: Callable[[Flip], None],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Do nothing yet; ``flipped`` hears of each new revision that clients get."""
        self._kept = kept
        self.situation = situation
        self._turns = turns
        self._flipped = flipped
        self._now = now
        self._is_asked_again = False
        self._is_over = asyncio.Event()
        self._is_over.set()

    @property
    def fqrn(self) -> Fqrn:
        """Which repository."""
        return self._kept.fqrn

    async def begin(self) -> None:
        """Find out what is served already."""
        try:
            await self._look_at_ours()
        except (StoreError, FormatError) as error:
            self._fail(error)

    async def look(self, *, is_told: bool = False) -> None:
        """Look at the origin, and fetch what is new; at once, or behind the look that is going on.

        Returns when nobody is looking any more; the situation tells how that went.

        Args:
            is_told: somebody says that there is news, so there is no need to ask.
        """
        if not self._is_over.is_set():
            self._is_asked_again = True
            await self._is_over.wait()
            return
        self._is_over.clear()
        try:
            while True:
                self._is_asked_again = False
                await self._attempt(is_told=is_told)
                if not self._is_asked_again:
                    return
                is_told = False
        finally:
            self.situation.phase = Phase.IDLE
            self._is_over.set()

    async def _attempt(self, *, is_told: bool) -> None:
        try:
            async with self._kept.travel() as journey:
                if is_told or await self._is_worth_a_run(journey.sources):
                    await self._fetch(journey)
        except Locked as error:
            # somebody else is at work on it, cvmfs_server for one: no failure of anybody's
            self.situation.trouble = Trouble(error, self._now())
        except MirrorError as error:
            self._fail(error)
        else:
            self.situation.failures = 0
            self.situation.trouble = None

    async def _is_worth_a_run(self, sources: Sources) -> bool:
        situation, now = self.situation, self._now()
        situation.phase = Phase.LOOKING
        raw = await _manifest(sources)
        situation.last_look = now
        ours = await self._kept.store.read_root_file(MANIFEST, _LIMITS.letter_bytes)
        if raw != ours or situation.last_success is None:
            return True
        return (now - situation.last_success).total_seconds() >= self._kept.whitelist_s

    async def _fetch(self, journey: Journey) -> None:
        situation = self.situation
        situation.phase = Phase.WAITING
        async with self._turns.turn(self._kept.priority):
            situation.phase = Phase.FETCHING
            began = self._now()
            situation.run = Run(began)
            before = situation.served
            try:
                report = await journey.run()
            finally:
                situation.run = None
        situation.last_look = situation.last_success = self._now()
        await self._look_at_ours()
        if situation.served is not None and situation.served != before:
            took = (self._now() - began).total_seconds()
            self._flip(situation.served, took, report)

    def _flip(self, served: Revision, took_s: float, report: SnapshotReport) -> None:
        flip = Flip(served, self._now(), took_s, report.stored_objects, report.stored_bytes)
        self.situation.flip(flip)
        self._flipped(flip)

    def _fail(self, error: MirrorError) -> None:
        self.situation.trouble = Trouble(error, self._now())
        self.situation.failures += 1

    async def _look_at_ours(self) -> None:
        store = self._kept.store
        manifest = await served_manifest(store, _LIMITS)
        if manifest is None:
            return
        self.situation.served = Revision.of(manifest)
        self.situation.see(self.situation.upstream or self.situation.served)
        raw = await store.read_root_file(WHITELIST, _LIMITS.letter_bytes)
        if raw is not None:
            self.situation.whitelist_expires = Whitelist.parse(raw).expires_at


async def _manifest(sources: Sources) -> bytes:
    """The manifest at Stratum 0, or at the first mirror that answers where it does not.

    Raises:
        UpstreamError: nobody answers; Stratum 0's reason.
    """
    request = Request(MANIFEST, _LIMITS.letter_bytes, is_fresh=True)
    reasons: list[UpstreamError] = []
    for source in sources.once:
        try:
            return await source.fetch(request, read_all)
        except UpstreamError as error:
            reasons.append(error)
    raise reasons[0]
