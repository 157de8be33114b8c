"""The Geo API behind a real socket, in a thread, with the small world's resolver."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from mirror.geo.options import GeoOptions
from mirror.geo.resolver import Resolve
from mirror.geo.setting_up import Geo
from mirror.serve.app import create_app
from mirror.serve.geo import Answers, GeoGate, GeoRoute
from mirror.serve.ledger import COUNTERS, Ledger
from mirror.serve.listening import listening
from mirror.serve.running import Worker
from mirror.serve.tree import Tree


@asynccontextmanager
async def geo_worker(
    storage: Path,
    options: GeoOptions,
    resolve: Resolve,
    counters: memoryview | None = None,
    host: str = "127.0.0.1",
) -> AsyncIterator[int]:
    """Serve in this loop; gives the port."""
    if counters is None:
        counters = memoryview(bytearray(8 * COUNTERS)).cast("Q")
    gate, geo = GeoGate(Tree(storage), Ledger(counters)), Geo(options, resolve)
    gate.answers = Answers(geo, geo.limits)
    worker = Worker(gate, lambda it: create_app(it, GeoRoute(geo, it).add_to))
    with listening([(host, 0)]) as sockets:
        await worker.start([(each, None) for each in sockets])
        try:
            yield sockets[0].getsockname()[1]
        finally:
            await worker.stop()


@contextmanager
def geo_served(
    storage: Path, options: GeoOptions, resolve: Resolve, host: str = "127.0.0.1"
) -> Iterator[str]:
    """Serve in a thread, for clients that are other programs; gives the URL."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="geo")
    thread.start()
    server = geo_worker(storage, options, resolve, host=host)
    try:
        port = asyncio.run_coroutine_threadsafe(server.__aenter__(), loop).result()
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            asyncio.run_coroutine_threadsafe(server.__aexit__(None, None, None), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
