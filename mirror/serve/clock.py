"""The time, looked at a few times a second rather than at each request."""

from __future__ import annotations

import asyncio
import time
from email.utils import formatdate
from typing import Final

SERVER: Final = "cvmfs-mirror"
"""What we call ourselves in answers; no version, which would help nobody but attackers."""


class Clock:
    """Ticks when told to.

    Attributes:
        now: of the event loop, in seconds.
        unix: seconds since 1970.
        date: as HTTP writes it.
        status_ok: the beginning of every plain answer: status, Date and Server.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._second = 0
        self.now = self.unix = 0.0
        self.date = ""
        self.status_ok = b""
        self.tick()

    def tick(self) -> None:
        """Look at the time."""
        self.now = self._loop.time()
        self.unix = time.time()
        second = int(self.unix)
        if second != self._second:
            self._second = second
            self.date = formatdate(second, usegmt=True)
            status = f"HTTP/1.1 200 OK\r\nDate: {self.date}\r\nServer: {SERVER}\r\n"
            self.status_ok = status.encode("ascii")
