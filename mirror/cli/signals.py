"""What signals ask of a service in the foreground.

SIGTERM ends it well, SIGINT quicker, and who asks twice gets it at once. SIGHUP reads the
configuration anew, SIGUSR1 opens log files anew.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

from mirror.errors import ConfigError, MirrorError

HURRY_S: Final = 2.0
"""For requests under way, when somebody at a terminal presses Ctrl-C."""
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)
Say = Callable[[str], None]
_log: Final = logging.getLogger(__name__)


class Signals:
    """Those that came, in their order."""

    def __init__(self) -> None:
        """Hear them from now on, in the running event loop."""
        self._heard: asyncio.Queue[signal.Signals] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        for each in _SIGNALS:
            self._loop.add_signal_handler(each, self._heard.put_nowait, each)

    async def obey(
        self,
        reload: Callable[[], Coroutine[Any, Any, None]],
        reopen: Callable[[], None],
        say: Say,
    ) -> float | None:
        """Do what is asked for; gives the time for the end when that is, None for all of it."""
        reading: asyncio.Task[None] | None = None
        while (asked := await self._heard.get()) not in (signal.SIGTERM, signal.SIGINT):
            if asked is signal.SIGUSR1:
                reopen()
            else:
                await cancelled(reading)
                reading = self._loop.create_task(_changed(reload, say))
        await cancelled(reading)
        return HURRY_S if asked is signal.SIGINT else None

    async def end(self, stopping: Coroutine[Any, Any, None], kill: Callable[[], None]) -> None:
        """Wait for the end; who asks for it a second time gets it at once."""
        end = self._loop.create_task(stopping)
        asking = self._loop.create_task(self._heard.get())
        await asyncio.wait([end, asking], return_when=asyncio.FIRST_COMPLETED)
        if not end.done():
            kill()
        await end
        await cancelled(asking)


async def cancelled(task: asyncio.Task[Any] | None) -> None:
    """End a task, whatever it thinks of that."""
    if task is not None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _changed(reload: Callable[[], Awaitable[None]], say: Say) -> None:
    """Follow the configuration as it is now, if it is right."""
    try:
        await reload()
    except ConfigError as error:
        for problem in error.problems:
            say(problem)
        say("the configuration is not taken over; everything goes on as before")
    except MirrorError as error:
        say(f"the configuration is not taken over in full: {error}; reload again")
    except Exception:  # noqa: BLE001 - whatever it is, the service goes on, and somebody has to know
        _log.exception("the configuration is not taken over in full; a mistake of ours")
