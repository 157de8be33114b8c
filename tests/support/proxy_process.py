"""A proxy whose worker is a process, looked after in a thread: for clients that are programs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from mirror.serve.workers import Plan, Workers
from proxy.running import JOB, ProxyOptions

T = TypeVar("T")


class ProxyProcess:
    """Serves on a free port of 127.0.0.1, with its cache in a directory."""

    def __init__(self, upstreams: Sequence[str], directory: Path) -> None:
        self._about = ProxyOptions(
            upstreams, cache_directory=str(directory), cache_bytes=1024 * 1024 * 1024
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy")
        self._workers = Workers(lambda _: None)
        self.url = ""

    def __enter__(self) -> Self:
        self._thread.start()
        plan = Plan(JOB, self._about.pack(), listen=(("127.0.0.1", 0),))
        self._do(self._workers.follow(plan))
        (self.url,) = self._workers.urls
        return self

    @property
    def requests(self) -> int:
        """That it has answered."""
        return sum(requests for requests, _ in self._workers.counters.totals().values())

    def die(self) -> None:
        """Let nobody in any more."""
        self._do(self._workers.stop(0))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.die()
        self._workers.counters.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()
