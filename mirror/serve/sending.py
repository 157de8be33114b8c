"""One body on its way: slice by slice, no faster than the client takes it.

What a slow client holds in memory is one slice, whatever it asked for; and nothing at all where the
kernel sends a file by itself. A body that waits, for the disk or for an upstream, is waited for
without holding up anybody else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import IO, Final, cast

from mirror.serve.content import Body, Bytes, FileRange

_SLICE_BYTES: Final = 128 * 1024
_TURN_BYTES: Final = 1024 * 1024
"""After so many bytes others have their turn, however quickly this client reads."""
_BY_KERNEL_FROM_BYTES: Final = 256 * 1024
"""Below that, setting it up costs more than copying."""
_WINDOW_BYTES: Final = 4 * 1024 * 1024
"""Of a file, that is brought into the kernel's cache before it is sent from there."""


class CutShort(Exception):
    """There are fewer bytes than were announced."""


class Sending:
    """Writes a body to a transport; its connection tells it when to go on."""

    __slots__ = (
        "_body",
        "_end",
        "_first",
        "_is_paused",
        "_loop",
        "_over",
        "_task",
        "_transport",
        "waits_for_client",
    )

    def __init__(
        self,
        body: Body,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        over: Callable[[Exception | None], None],
        first: int = 0,
    ) -> None:
        """Send all of ``body``; ``over`` hears of the end, and why if it came too early.

        Args:
            body: what.
            transport: to whom.
            loop: where.
            over: is told.
            first: so many bytes were sent already.
        """
        self._body = body
        self._transport = transport
        self._loop = loop
        self._over = over
        self._first = first
        self._end = body.size_bytes
        self._is_paused = False
        self._task: asyncio.Task[None] | asyncio.Handle | None = None
        self.waits_for_client = False
        """Whether the kernel has something for the client that does not stand in the transport."""

    @property
    def sent_bytes(self) -> int:
        """What was handed to the transport."""
        return self._first

    def pause(self) -> None:
        """The client does not keep up."""
        self._is_paused = True

    def resume(self) -> None:
        """Begin, or go on."""
        self._is_paused = False
        if self._task is None:
            self._write()

    def halt(self) -> None:
        """Send nothing more; has to come before the end of the transport."""
        self._is_paused = True
        if self._task is not None:
            self._task.cancel()

    def end(self, error: Exception) -> None:
        """Send nothing more, and say so."""
        self.halt()
        self._over(error)

    def _write(self) -> None:
        self._task = None
        turn_ends = self._first + _TURN_BYTES
        while not self._is_paused:
            if self._first == self._end:
                self._over(None)
                return
            if self._is_for_kernel():
                self._task = self._loop.create_task(self._send_file())
                return
            if self._first >= turn_ends:
                self._task = self._loop.call_soon(self._write)
                return
            upto = min(self._first + _SLICE_BYTES, self._end)
            try:
                piece = self._body.at_hand(self._first, upto)
            except OSError as error:
                self._over(error)
                return
            if piece is None:
                self._task = self._loop.create_task(self._wait(upto))
                return
            if not self._put(piece):
                return

    async def _wait(self, upto: int) -> None:
        try:
            piece = await self._body.read(self._first, upto)
        except Exception as error:  # noqa: BLE001 - whatever it is, this answer cannot be completed
            self._over(error)
            return
        if self._put(piece):
            self._write()

    def _put(self, piece: Bytes) -> bool:
        if not piece:
            self._over(CutShort(f"{self._end - self._first} bytes are missing at the end"))
            return False
        self._transport.write(piece)
        self._first += len(piece)
        return True

    # --- by the kernel ----------------------------------------------------------------------------

    def _is_for_kernel(self) -> bool:
        return (
            self._end - self._first >= _BY_KERNEL_FROM_BYTES
            and isinstance(self._body, FileRange)
            and self._transport.get_extra_info("sslcontext") is None
        )

    async def _send_file(self) -> None:
        file = cast("FileRange", self._body)
        try:
            while self._first < self._end:
                upto = min(self._first + _WINDOW_BYTES, self._end)
                if not file.is_at_hand(upto):
                    await file.read(self._first, upto)
                self._first += await self._send_window(file, upto)
        except Exception as error:  # noqa: BLE001 - whatever it is, this answer cannot be completed
            self._over(error)
        else:
            self._over(None)

    async def _send_window(self, file: FileRange, upto: int) -> int:
        self.waits_for_client = True
        try:
            sent = await self._loop.sendfile(
                self._transport,
                cast("IO[bytes]", file),
                file.base + self._first,
                upto - self._first,
                fallback=False,
            )
        finally:
            self.waits_for_client = False
        if not sent:
            raise CutShort(f"{self._end - self._first} bytes are missing at the end")
        return sent
