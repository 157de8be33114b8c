"""The daemon's HTTP around replicas that exist only in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient, TestServer

from mirror.cvmfs.fqrn import Fqrn
from mirror.daemon.alarms import AlarmBoard
from mirror.daemon.api import Parts, create_api
from mirror.daemon.hub import Hub, HubLimits
from mirror.daemon.probes import Geo, no_geo
from mirror.daemon.push import Push, PushLimits
from mirror.daemon.replicas import Replicas
from mirror.daemon.situation import Situation
from mirror.daemon.status import Reporter
from mirror.daemon.tokens import Buckets, Tokens
from mirror.store.memory import MemoryStore
from tests.support.clock import NOW
from tests.support.loops import run
from tests.support.situations import FQRN, situation

TOKEN: Final = "t0ken-of-the-publisher-0123456789abcdef"
NARROW: Final = "t0ken-of-one-repository-0123456789abcdef"


def tokens(directory: Path) -> Tokens:
    """One for everything, one for other repositories only."""
    file = directory / "tokens"
    file.write_text(f"# who may push\n{TOKEN}\n\n{NARROW} *.elsewhere.org other.example.org\n")
    file.chmod(0o600)
    return Tokens.read([file])


class Daemon:
    """What stands behind the API.

    Attributes:
        situations: of the replicas; change them at will.
        stores: of their files.
        looks: what was looked at.
        look: what a look does; by default it ends at once.
        seconds: moved on by hand, for the limits of pushes.
        now: likewise, for all else.
    """

    def __init__(self, limits: HubLimits | None = None, geo: Geo = no_geo) -> None:
        self.situations: dict[Fqrn, Situation] = {FQRN: situation()}
        self.stores: dict[Fqrn, MemoryStore] = {FQRN: MemoryStore()}
        self.looks: list[Fqrn] = []
        self.look: Callable[[Fqrn], Awaitable[None]] = self._nothing
        self.seconds = 0.0
        self.now = NOW
        self.is_serving = True
        self.hub = Hub(limits)
        self._tasks: set[asyncio.Task[None]] = set()
        replicas = Replicas(lambda: self.situations)
        buckets = [Buckets(count, every_s, lambda: self.seconds) for count, every_s in _LIMITS]
        self.push = Push(replicas, self._look, PushLimits(*buckets))
        board = AlarmBoard(self.situations.values)
        self.parts = Parts(
            replicas=replicas,
            store=self.stores.__getitem__,
            reporter=Reporter(self.situations.values, board, NOW),
            push=self.push,
            hub=self.hub,
            is_serving=lambda: self.is_serving,
            now=lambda: self.now,
            geo=geo,
        )

    async def _nothing(self, _fqrn: Fqrn) -> None:
        pass

    async def _looked(self, fqrn: Fqrn) -> None:
        await self.look(fqrn)

    def _look(self, fqrn: Fqrn) -> asyncio.Task[None]:
        self.looks.append(fqrn)
        task = asyncio.get_running_loop().create_task(self._looked(fqrn))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


_LIMITS: Final = ((4, 10.0), (3, 5.0))
"""Of each token and of each repository: so many at once, then one each so many seconds."""

Client = TestClient[web.Request, web.Application]


@asynccontextmanager
async def serving(daemon: Daemon) -> AsyncIterator[Client]:
    """The API on a port of loopback."""
    async with TestClient(TestServer(create_api(daemon.parts))) as client:
        yield client


def ask(daemon: Daemon, test: Callable[[Client], Awaitable[None]]) -> None:
    """Run a test with a client."""

    async def main() -> None:
        async with serving(daemon) as client:
            await test(client)

    run(main())


async def reason(response: ClientResponse) -> tuple[int, str, str]:
    """Of an answer that says no: status, what is wrong, what to do."""
    document = await response.json()
    assert response.headers["Cache-Control"] == "no-store"
    return response.status, document["error"], document["what_to_do"]
