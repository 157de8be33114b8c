"""The system's resolver, off the event loop.

Each look-up has a thread of its own, which nobody waits for at the end: the resolver cannot be told
to stop, and a worker that is to end must not wait for a name server that is down. So many of them
at once, and no more.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial

Resolve = Callable[[str], Awaitable[Sequence[str]]]
"""Addresses of a host name, in the resolver's order; raises OSError if there are none."""


class Busy(OSError):
    """Too many look-ups are under way."""


class SystemResolver:
    """A `Resolve`: asks whatever the host is configured to ask."""

    def __init__(self, at_once: int) -> None:
        """So many look-ups at the same time."""
        self._places = threading.Semaphore(at_once)

    async def __call__(self, name: str) -> Sequence[str]:
        """As `Resolve`.

        Raises:
            Busy: try again later.
        """
        if not self._places.acquire(blocking=False):
            raise Busy
        loop = asyncio.get_running_loop()
        told: asyncio.Future[Sequence[str]] = loop.create_future()
        thread = threading.Thread(
            target=self._ask, args=(loop, told, name), name="geo-look-up", daemon=True
        )
        thread.start()
        return await told

    def _ask(
        self, loop: asyncio.AbstractEventLoop, told: asyncio.Future[Sequence[str]], name: str
    ) -> None:
        try:
            result: Callable[[], None] = partial(_tell, told, _addresses(name))
        except (OSError, UnicodeError) as error:
            result = partial(_fail, told, OSError(str(error)))
        finally:
            self._places.release()
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(result)


def _addresses(name: str) -> Sequence[str]:
    found = socket.getaddrinfo(name, 80, proto=socket.IPPROTO_TCP)
    return tuple(str(address[0]) for *_, address in found)


def _tell(told: asyncio.Future[Sequence[str]], addresses: Sequence[str]) -> None:
    if not told.done():
        told.set_result(addresses)


def _fail(told: asyncio.Future[Sequence[str]], error: OSError) -> None:
    if not told.done():
        told.set_exception(error)
