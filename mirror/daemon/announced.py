"""Other servers that tell us of publications: one subscriber for each server and replica.

What they say only rings the clock. Whether a replica may be looked at less often is decided by who
is connected now and has ever said something of it: a server that knows nothing of a repository
takes a subscription all the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import aiohttp

from mirror.cvmfs.fqrn import Fqrn
from mirror.daemon.subscriber import Subscriber, Told

_API: Final = "/api/v1"
MakeSubscriber = Callable[[aiohttp.ClientSession, str, Fqrn, Told], Subscriber]


@dataclass(slots=True)
class _Listening:
    """One subscriber at work."""

    subscriber: Subscriber
    task: asyncio.Task[None]
    has_told: bool = False


class Announced:
    """All subscribers.

    Attributes:
        told: hears of each announcement.
    """

    def __init__(self, told: Told, make: MakeSubscriber = Subscriber) -> None:
        """Listen to nobody yet."""
        self.told = told
        self._make = make
        self._session: aiohttp.ClientSession | None = None
        self._listening: dict[tuple[str, Fqrn], _Listening] = {}

    def is_told(self, fqrn: Fqrn) -> bool:
        """Whether publications of this repository are announced just now."""
        return any(
            each.has_told and each.subscriber.is_connected
            for (_, name), each in self._listening.items()
            if name == fqrn
        )

    async def follow(self, servers: Sequence[str], fqrns: Iterable[Fqrn]) -> None:
        """Listen to these servers for these repositories, and to nobody else."""
        wanted = {(_api_of(server), fqrn) for fqrn in fqrns for server in servers}
        await self._end(self._listening.keys() - wanted)
        for server, fqrn in sorted(wanted - self._listening.keys()):
            self._listening[server, fqrn] = self._listen(server, fqrn)

    async def stop(self) -> None:
        """Listen to nobody any more."""
        await self._end(set(self._listening))
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _listen(self, server: str, fqrn: Fqrn) -> _Listening:
        if self._session is None:  # a connection for each, so there is no limit to them
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))

        def told(about: Fqrn, revision: int) -> None:
            listening.has_told = True
            self.told(about, revision)

        subscriber = self._make(self._session, server, fqrn, told)
        task = asyncio.get_running_loop().create_task(subscriber.run())
        listening = _Listening(subscriber, task)
        return listening

    async def _end(self, which: Iterable[tuple[str, Fqrn]]) -> None:
        tasks = [self._listening.pop(each).task for each in list(which)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _api_of(server: str) -> str:
    """A server's address may be given with the path of its API, as gateways document, or bare."""
    url = server.rstrip("/")
    return url if urlsplit(url).path else url + _API
