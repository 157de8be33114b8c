"""A Stratum 0 behind a real HTTP server, in a thread of its own; it can be made to misbehave.

    with HttpStratum0(files) as stratum0:          # a mapping of paths to bytes, or a directory
        stratum0.files = other                     # publish
        stratum0.faults["data/ab/…"] = broken      # answer this path with a coroutine function
        stratum0.url, stratum0.requests            # for the configuration, and for asserting

Runs beside synchronous tests of the command line, which have event loops of their own.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from aiohttp import web

Fault = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Seen:
    """A request: its path below the repository, and whether it asked caches to stand aside."""

    path: str
    is_past_caches: bool


class HttpStratum0:
    """Serves ``/cvmfs/<fqrn>/…`` on a free port of 127.0.0.1."""

    def __init__(self, files: Mapping[str, bytes] | Path, fqrn: str = "test.example.org") -> None:
        self.files = files
        self.faults: dict[str, Fault] = {}
        self.requests: list[Seen] = []
        self._prefix = f"/cvmfs/{fqrn}/"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="stratum0")
        self.port = 0

    @property
    def url(self) -> str:
        """The repository's base URL."""
        return f"http://127.0.0.1:{self.port}{self._prefix}".rstrip("/")

    @property
    def paths(self) -> list[str]:
        """What was asked for, in order."""
        return [seen.path for seen in self.requests]

    def die(self) -> None:
        """Let nobody in, as a host whose server has ended."""
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result()

    def come_back(self) -> None:
        """At the same port."""
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result()

    def hang(self, path: str) -> threading.Event:
        """Never answer this path; the event tells that somebody asks for it."""
        arrived = threading.Event()

        async def never(_request: web.Request) -> web.StreamResponse:
            arrived.set()
            await asyncio.Event().wait()
            raise AssertionError

        self.faults[path] = never
        return arrived

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _start(self) -> None:
        app = web.Application()
        app.router.add_get("/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        self.port = self._runner.addresses[0][1]

    async def _stop(self) -> None:
        await self._runner.cleanup()
        unanswered = asyncio.all_tasks() - {asyncio.current_task()}
        for task in unanswered:
            task.cancel()
        await asyncio.gather(*unanswered, return_exceptions=True)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        path = request.path.removeprefix(self._prefix)
        past_caches = "no-cache" in request.headers.get("Cache-Control", "")
        self.requests.append(Seen(path, past_caches))
        fault = self.faults.get(path)
        if fault is not None:
            return await fault(request)
        content = self._content(path)
        if content is None:
            return web.Response(status=404)
        return web.Response(body=content, content_type="application/octet-stream")

    def _content(self, path: str) -> bytes | None:
        if not isinstance(self.files, Path):
            return self.files.get(path)
        file = self.files / path
        return file.read_bytes() if file.is_file() else None
