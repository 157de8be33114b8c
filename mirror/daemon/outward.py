"""Everything between us and others: the API, pushes, announcements, and whoever hears of our flips.

`Outward.prepare` finds out whether a configuration can be followed, before anything is changed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from aiohttp import web

from mirror import wiring
from mirror.config import Settings
from mirror.cvmfs.fqrn import Fqrn
from mirror.daemon.alarms import AlarmBoard
from mirror.daemon.announced import Announced
from mirror.daemon.api import Parts, create_api
from mirror.daemon.front import Front, Opened, close, socket_path
from mirror.daemon.geo_question import GeoQuestion
from mirror.daemon.hub import Hub
from mirror.daemon.push import Push, PushLimits
from mirror.daemon.replicas import Replicas
from mirror.daemon.situation import Situation
from mirror.daemon.status import Reporter
from mirror.daemon.telling import Telling
from mirror.daemon.tokens import Tokens
from mirror.serve.workers import Workers
from mirror.serve_settings import addresses
from mirror.store.base import ObjectReader
from mirror.store.threads import in_thread

Looks = Callable[..., "asyncio.Task[None]"]
"""`mirror.daemon.keeping.Keeping.look`."""


@dataclass(frozen=True, slots=True)
class Inside:
    """What others are told of, and what they may set off.

    Attributes:
        settings: that are followed now.
        situations: of all replicas.
        board: the alarms.
        workers: that serve.
        waiting: how many replicas wait for their turn.
        look: looks at one.
        more: adds routes to the API.
    """

    settings: Callable[[], Settings]
    situations: Callable[[], Mapping[Fqrn, Situation]]
    board: AlarmBoard
    workers: Workers
    waiting: Callable[[], int]
    look: Looks
    more: Sequence[Callable[[web.Application], None]] = ()


@dataclass(frozen=True, slots=True)
class Prepared:
    """A configuration that can be followed; to be followed, or dropped.

    Attributes:
        tokens: of those who may push.
        opened: sockets for addresses that are new.
    """

    tokens: Tokens
    opened: Opened

    def drop(self) -> None:
        """It is not followed."""
        close(self.opened)


class Outward:
    """See above.

    Attributes:
        socket: where workers find us.
    """

    def __init__(self, inside: Inside) -> None:
        """Nobody is let in yet.

        Raises:
            ConfigError: there can be no socket where it has to be.
        """
        self._inside = inside
        self.socket = socket_path(inside.settings().storage.spool)
        self._telling = Telling(Hub(), self._store)
        self._announced = Announced(self._hear)
        self._push = self._make_push()
        self._front = Front(create_api(self._parts()), self.socket)

    @property
    def urls(self) -> list[str]:
        """Of the API, beside those at which clients are served."""
        return self._front.urls

    # --- beginning, changing, ending --------------------------------------------------------------

    async def prepare(self, settings: Settings) -> Prepared:
        """Whatever may fail.

        Raises:
            ConfigError: a token or an address is wrong.
        """
        files = [settings.run.tokens] if settings.run.tokens is not None else []
        tokens = await in_thread(lambda: Tokens.read(files))
        return Prepared(tokens, self._front.open(addresses(settings.run.listen or [])))

    async def start(self) -> None:
        """Let workers ask.

        Raises:
            StoreError: the socket cannot be made.
        """
        await self._front.start()

    async def open(self, settings: Settings, prepared: Prepared) -> None:
        """Let others ask where it is configured, and those push who may."""
        self._push.tokens = prepared.tokens
        await self._front.follow(addresses(settings.run.listen or []), prepared.opened)

    async def listen(self, settings: Settings) -> None:
        """Hear announcements about the replicas that there are now."""
        await self._announced.follow(settings.run.announcements, self._inside.situations())

    async def stop(self) -> None:
        """Listen to nobody, tell nobody."""
        await self._announced.stop()
        await self._telling.stop()
        await self._front.stop()

    # --- what happens -----------------------------------------------------------------------------

    def is_announced(self, fqrn: Fqrn) -> bool:
        """Whether publications are announced to us just now."""
        return self._announced.is_told(fqrn)

    def tell(self, fqrn: Fqrn) -> None:
        """Subscribers shall know what is served now."""
        self._telling.tell(fqrn)

    def forget(self, fqrn: Fqrn) -> None:
        """It is not ours any more."""
        self._telling.hub.forget(fqrn)

    def _hear(self, fqrn: Fqrn, revision: int) -> None:
        """Look; what is served already may at most have been signed anew, which a look finds."""
        situation = self._inside.situations().get(fqrn)
        if situation is not None:
            served = situation.served.number if situation.served is not None else -1
            self._inside.look(fqrn, is_told=revision > served)

    # --- how it is made ---------------------------------------------------------------------------

    def _store(self, fqrn: Fqrn) -> ObjectReader:
        return wiring.local_store(self._inside.settings(), fqrn)

    def _make_push(self) -> Push:
        limits = PushLimits.usual(asyncio.get_running_loop().time)
        return Push(Replicas(self._inside.situations), self._inside.look, limits)

    def _parts(self) -> Parts:
        inside = self._inside
        workers = inside.workers

        def now() -> datetime:
            return datetime.now(UTC)

        return Parts(
            replicas=self._push.replicas,
            store=self._store,
            reporter=Reporter(
                lambda: inside.situations().values(),
                inside.board,
                started=now(),
                workers=lambda: len(workers.processes),
                waiting=inside.waiting,
            ),
            push=self._push,
            hub=self._telling.hub,
            is_serving=lambda: bool(workers.processes),
            now=now,
            geo=GeoQuestion(inside.settings, lambda: workers.urls),
            more=inside.more,
        )
