"""The network between two processes, which can be cut in one direction of asking."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import Self


class Relay:
    """Takes connections on a free port of 127.0.0.1 and passes bytes on, unless it is cut."""

    def __init__(self, loop: asyncio.AbstractEventLoop, to_port: int) -> None:
        self._loop = loop
        self._to_port = to_port
        self._may_pass = asyncio.Event()
        self._may_pass.set()
        self.port = 0

    async def start(self) -> asyncio.Server:
        """Listen."""
        server = await asyncio.start_server(self._pass_on, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        return server

    def cut(self) -> None:
        """From now on bytes get stuck, as behind a firewall that drops them."""
        self._loop.call_soon_threadsafe(self._may_pass.clear)

    def mend(self) -> None:
        """What was stuck arrives now, however old it is."""
        self._loop.call_soon_threadsafe(self._may_pass.set)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            theirs, to_them = await asyncio.open_connection("127.0.0.1", self._to_port)
            await asyncio.gather(self._copy(reader, to_them), self._copy(theirs, writer))
        writer.close()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while piece := await reader.read(65_536):
                await self._may_pass.wait()
                writer.write(piece)
                await writer.drain()
        writer.close()


class Network:
    """Relays, in a thread of their own; use as a context manager."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="network")
        self._servers: list[asyncio.Server] = []

    def relay(self, to_port: int) -> Relay:
        """One more way to a port."""

        async def start() -> Relay:
            relay = Relay(self._loop, to_port)
            self._servers.append(await relay.start())
            return relay

        return asyncio.run_coroutine_threadsafe(start(), self._loop).result()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        async def end() -> None:
            for server in self._servers:
                server.close()
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
