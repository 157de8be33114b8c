"""Looks after what somebody has to know: alarms, replicas too far behind, and whether we live.

Every few seconds, and whenever something happened to a replica.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from mirror.cvmfs.fqrn import Fqrn
from mirror.daemon.alarms import AlarmBoard, AlarmCleared, AlarmRaised
from mirror.daemon.sd_notify import Systemd
from mirror.daemon.situation import Situation
from mirror.daemon.withholding import Withholding
from mirror.events import Emit, Event

_EVERY_S: Final = 5.0
_OWNER: Final = "staleness"
_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Watched:
    """What is watched, and who is told.

    Attributes:
        situations: of all replicas.
        board: the alarms.
        refuse_after_s: how far behind a replica may be before clients get no manifest of it; None
            for as far as it likes.
        withholding: where that is said.
        is_serving: whether workers answer clients.
        summary: one line on everything.
        systemd: is told that line, and that we live.
        emit: hears of alarms that come and go.
        now: the time.
    """

    situations: Callable[[], Iterable[Situation]]
    board: AlarmBoard
    refuse_after_s: Callable[[Fqrn], float | None]
    withholding: Withholding
    is_serving: Callable[[], bool]
    summary: Callable[[], str]
    systemd: Systemd
    emit: Emit
    now: Callable[[], datetime]


class Watch:
    """See above."""

    def __init__(self, watched: Watched) -> None:
        """Nothing is watched yet."""
        self._watched = watched
        self._nudged = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Watch from now on."""
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._watch())]
        if self._watched.systemd.watchdog_s:
            self._tasks.append(loop.create_task(self._stay_alive()))

    async def stop(self) -> None:
        """Watch no longer."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def nudge(self) -> None:
        """Something happened: look now."""
        self._nudged.set()

    async def look(self) -> None:
        """Once."""
        watched = self._watched
        for event in watched.board.update(watched.now()):
            watched.emit(event)
        for situation in list(watched.situations()):
            await self._judge(situation)
        watched.systemd.status(watched.summary())

    async def _judge(self, situation: Situation) -> None:
        """Keep a manifest from clients while it is too old, as the operator wants it.

        What was withheld before we started stays so until it is known how far behind it is.
        """
        watched, fqrn = self._watched, situation.fqrn
        allowed = watched.refuse_after_s(fqrn)
        lag_s = situation.lag_s(watched.now().timestamp())
        if allowed is not None and lag_s > allowed:
            reason = f"this mirror is more than {allowed:.0f} s behind the publisher"
            await watched.withholding.say(fqrn, _OWNER, reason)
        elif allowed is None or situation.last_look is not None:
            await watched.withholding.say(fqrn, _OWNER, None)

    async def _watch(self) -> None:
        while True:
            self._nudged.clear()
            try:
                await self.look()
            except Exception:  # noqa: BLE001 - a mistake of ours must not end the watch
                _log.exception("watching failed for a reason nobody thought of")
            with suppress(TimeoutError):
                async with asyncio.timeout(_EVERY_S):
                    await self._nudged.wait()

    async def _stay_alive(self) -> None:
        """Tell that the event loop turns and that clients are answered; otherwise be restarted."""
        systemd = self._watched.systemd
        while True:
            if self._watched.is_serving():
                systemd.alive()
            await asyncio.sleep(systemd.watchdog_s / 2)


def log_alarm(event: Event) -> None:
    """One line for each alarm that comes, with what to do, or goes."""
    match event:
        case AlarmRaised():
            alarm = event.alarm
            _log.warning("%s: %s: %s; %s", *_of(event), alarm.sentence, alarm.what_to_do)
        case AlarmCleared():
            _log.warning("%s: %s is over, after %.0f s", *_of(event), event.after_s)


def _of(event: AlarmRaised | AlarmCleared) -> tuple[Fqrn, str]:
    return event.fqrn, event.alarm.name.value
