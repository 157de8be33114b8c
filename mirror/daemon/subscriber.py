"""Hears from a gateway, or from another mirror, that a repository has news (contract B.14).

One connection for each repository, since that is what the protocol has. Whatever is heard only says
that it is time to look; a stream that says nothing true costs no more than looking for nothing.
When it ends, it is opened again after a pause that grows while it fails.
"""

from __future__ import annotations

import asyncio
import logging
import random
import socket
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Final

import aiohttp

from mirror.cvmfs.fqrn import Fqrn
from mirror.daemon.notifications import (
    MAX_MESSAGE_BYTES,
    Notification,
    Wish,
    make_wish,
    parse_notification,
)
from mirror.errors import FormatError, Unavailable, UpstreamError, printable

_DATA: Final = b"data:"
_KEEP_ALIVE_S: Final = 60
_log: Final = logging.getLogger(__name__)

Told = Callable[[Fqrn, int], None]
"""A repository is said to have a revision."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How a subscriber waits.

    Attributes:
        connect_s: for a connection and the head of an answer.
        silence_s: for the next byte of a server that sends no heartbeats: gateways send nothing for
            up to two hours.
        beating_silence_s: likewise of one that has sent some.
        first_pause_s: before connecting again; it doubles with each failure in a row,
        longest_pause_s: up to this.
        sleep: passes the time.
        chance: from 0 to 1, for pauses that differ from host to host.
    """

    connect_s: float = 10.0
    silence_s: float = 7500.0
    beating_silence_s: float = 100.0
    first_pause_s: float = 1.0
    longest_pause_s: float = 300.0
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    chance: Callable[[], float] = random.random

    def pause_s(self, failures: int) -> float:
        """After so many failures in a row, blurred by half."""
        doubled: float = self.first_pause_s * 2.0 ** min(failures, 30)
        return min(doubled, self.longest_pause_s) * (0.5 + self.chance() / 2)


class Lines:
    """Bytes as they come, cut into lines."""

    def __init__(self, longest: int = MAX_MESSAGE_BYTES + len(_DATA) + 1) -> None:
        """No line may be longer than that."""
        self._longest = longest
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The lines that are complete now, without their ends.

        Raises:
            FormatError: a line is too long.
        """
        self._rest += data
        while (end := self._rest.find(b"\n", 0, self._longest + 1)) >= 0:
            line = bytes(self._rest[:end])
            del self._rest[: end + 1]
            yield line.removesuffix(b"\r")
        if len(self._rest) > self._longest:
            raise FormatError(f"a line of more than {self._longest} bytes")


class Subscriber:
    """Listens for one repository.

    Attributes:
        fqrn: which.
        url: of the server, as ``CVMFS_NOTIFICATION_SERVER`` has it: ``http://gateway:4929/api/v1``.
        is_connected: whether announcements would be heard just now.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        fqrn: Fqrn,
        told: Told,
        patience: Patience | None = None,
    ) -> None:
        """Do nothing yet."""
        self.fqrn = fqrn
        self.url = url.rstrip("/")
        self.is_connected = False
        self._session = session
        self._told = told
        self._patience = patience or Patience()
        self._failures = 0

    async def run(self) -> None:
        """Listen until cancelled."""
        while True:
            reason = "the stream ended"
            try:
                await self._listen()
            except (
                UpstreamError,
                FormatError,
                aiohttp.ClientError,
                TimeoutError,
                OSError,
            ) as error:
                reason = printable(str(error) or type(error).__name__)
            finally:
                self.is_connected = False
            pause_s = self._patience.pause_s(self._failures)
            self._failures += 1
            _log.info("%s: %s: %s; again in %.0f s", self.fqrn, self.url, reason, pause_s)
            await self._patience.sleep(pause_s)

    async def _listen(self) -> None:
        patience = self._patience
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=patience.connect_s)
        async with asyncio.timeout(patience.connect_s) as deadline:
            async with self._session.get(
                f"{self.url}/notifications/subscribe",
                data=make_wish(Wish(self.fqrn, wants_heartbeats=True)),
                headers={"Content-Type": "application/json", "Accept": "text/event-stream"},
                timeout=timeout,
                allow_redirects=False,
            ) as response:
                if response.status != 200:
                    raise Unavailable(f"{response.status} {printable(response.reason or '')}")
                _keep_alive(response)
                self.is_connected = True
                silence_s, lines = patience.silence_s, Lines()
                loop = asyncio.get_running_loop()
                deadline.reschedule(loop.time() + silence_s)
                async for piece in response.content.iter_any():
                    for line in lines.feed(piece):
                        silence_s = patience.beating_silence_s if line[:1] == b":" else silence_s
                        self._hear(line)
                    deadline.reschedule(loop.time() + silence_s)

    def _hear(self, line: bytes) -> None:
        if not line.startswith(_DATA):
            return
        try:
            heard = self._about_ours(line.removeprefix(_DATA).strip())
        except FormatError as error:
            _log.warning("%s: %s: a message is ignored: %s", self.fqrn, self.url, error)
            return
        self._failures = 0
        self._told(self.fqrn, heard.manifest.revision)

    def _about_ours(self, raw: bytes) -> Notification:
        heard = parse_notification(raw)
        if heard.fqrn != self.fqrn:
            raise FormatError(f"it is about {heard.fqrn}")
        return heard


def _keep_alive(response: aiohttp.ClientResponse) -> None:
    """Have the kernel find out when a server is gone that has nothing to say for hours."""
    transport = response.connection.transport if response.connection is not None else None
    link = transport.get_extra_info("socket") if transport is not None else None
    if link is not None and link.family in (socket.AF_INET, socket.AF_INET6):
        link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEP_ALIVE_S)
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _KEEP_ALIVE_S // 4)
