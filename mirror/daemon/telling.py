"""Tells the hub what is served, each revision in its turn."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from mirror.cvmfs.fqrn import Fqrn
from mirror.cvmfs.limits import Limits
from mirror.cvmfs.paths import MANIFEST
from mirror.daemon.hub import Hub
from mirror.daemon.notifications import make_notification
from mirror.errors import FormatError, StoreError
from mirror.store.base import ObjectReader

_LIMITS: Final = Limits()
_log: Final = logging.getLogger(__name__)


class Telling:
    """See above.

    Attributes:
        hub: where subscribers are.
    """

    def __init__(self, hub: Hub, store: Callable[[Fqrn], ObjectReader]) -> None:
        """``store`` tells where a replica's files are."""
        self.hub = hub
        self._store = store
        self._in_order = asyncio.Lock()  # nobody shall hear of the older one last
        self._tasks: set[asyncio.Task[None]] = set()

    def tell(self, fqrn: Fqrn) -> None:
        """Tell subscribers what is served now, soon."""
        task = asyncio.get_running_loop().create_task(self._tell(fqrn))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Tell nothing any more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _tell(self, fqrn: Fqrn) -> None:
        async with self._in_order:
            try:
                manifest = await self._store(fqrn).read_root_file(MANIFEST, _LIMITS.letter_bytes)
            except (StoreError, FormatError) as error:
                _log.warning("%s: subscribers are not told: %s", fqrn, error)
                return
            if manifest is not None:
                self.hub.publish(fqrn, make_notification(fqrn, manifest, datetime.now(UTC)))
