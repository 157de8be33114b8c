"""Our own server in a thread, for clients that are other programs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mirror.serve.limits import ServeLimits
from mirror.serve.running import serving


@contextmanager
def served(storage: Path, limits: ServeLimits | None = None) -> Iterator[str]:
    """Serve the trees below ``storage``; gives ``http://127.0.0.1:port``."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="serve")
    thread.start()
    server = serving(storage, [("127.0.0.1", 0)], limits)
    try:
        (url,) = asyncio.run_coroutine_threadsafe(server.__aenter__(), loop).result()
        try:
            yield url
        finally:
            asyncio.run_coroutine_threadsafe(server.__aexit__(None, None, None), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
