"""A proxy in this event loop, in front of a mirror that notes what it is asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from mirror.serve.limits import ServeLimits
from mirror.serve.listening import listening
from mirror.serve.worker_options import WorkerOptions
from proxy.running import JOB, ProxyOptions, proxy_worker


@dataclass
class NotingMirror:
    """Answers what it is told to.

    Attributes:
        answers: by path; nothing else is there.
        asked: paths, with whom they were for.
        port: where it listens.
    """

    answers: dict[str, tuple[int, str, dict[str, str]]] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    port: int = 0

    @property
    def origin(self) -> str:
        """Its URL."""
        return f"http://127.0.0.1:{self.port}"

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Whatever is asked."""
        self.asked.append((request.path, request.headers.get("X-Forwarded-For", "")))
        status, text, headers = self.answers.get(request.path, (404, "no such thing", {}))
        return web.Response(status=status, text=text, headers=headers)


@asynccontextmanager
async def noting_mirror() -> AsyncIterator[NotingMirror]:
    """One that listens."""
    mirror = NotingMirror()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", mirror.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        with listening([("127.0.0.1", 0)]) as (listener,):
            await web.SockSite(runner, listener.dup()).start()
            mirror.port = listener.getsockname()[1]
            yield mirror
    finally:
        await runner.cleanup()


@asynccontextmanager
async def proxy_before(*upstreams: str, **more: Any) -> AsyncIterator[int]:  # noqa: ANN401 - `ProxyOptions`
    """A proxy; gives its port."""
    about = ProxyOptions(upstreams=upstreams, timeout_s=2.0, **more)
    worker = proxy_worker(WorkerOptions(JOB, about.pack(), ServeLimits()))
    with listening([("127.0.0.1", 0)]) as sockets:
        await worker.start([(each, None) for each in sockets])
        try:
            yield sockets[0].getsockname()[1]
        finally:
            await worker.stop()


@dataclass(frozen=True)
class Told:
    """An answer as a client reads it."""

    status: int
    headers: dict[str, str]
    body: str


async def ask(
    port: int, target: str, method: str = "GET", host: str = "any", more: str = ""
) -> Told:
    """One request on a connection of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{more}\r\n"
    writer.write(head.encode("utf-8"))
    try:
        async with asyncio.timeout(10):
            said = (await reader.read()).decode("latin-1")
    finally:
        writer.close()
    head, _, body = said.partition("\r\n\r\n")
    status, *lines = head.split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    return Told(int(status.split(" ")[1]), headers, body)
