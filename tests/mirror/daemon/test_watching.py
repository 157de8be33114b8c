"""What is looked after every few seconds."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from datetime import timedelta

import pytest

from mirror.cvmfs.fqrn import Fqrn
from mirror.daemon.alarms import AlarmBoard, AlarmCleared, AlarmRaised
from mirror.daemon.sd_notify import Systemd
from mirror.daemon.situation import Situation
from mirror.daemon.watching import Watch, Watched, log_alarm
from mirror.daemon.withholding import Withholding
from mirror.errors import Unavailable
from mirror.events import Event
from tests.support.clock import NOW
from tests.support.loops import run
from tests.support.situations import FQRN, failing, revision, situation


class Told(Systemd):
    """Remembers instead of telling."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        super().__init__(environment)
        self.lines: list[str] = []
        self.beats = asyncio.Event()

    def _tell(self, *lines: str) -> None:
        self.lines += lines
        if "WATCHDOG=1" in lines:
            self.beats.set()


class World:
    """One replica that is watched."""

    def __init__(self, replica: Situation, refuse_after_s: float | None = None) -> None:
        self.replica = replica
        self.now = NOW
        self.notes: list[str | None] = []
        self.events: list[Event] = []
        self.refuse_after_s = refuse_after_s
        self.is_serving = True
        self.systemd = Told({"WATCHDOG_USEC": "2000"})

    def watch(self) -> Watch:
        """Of it."""
        return Watch(
            Watched(
                situations=lambda: [self.replica],
                board=AlarmBoard(lambda: [self.replica]),
                refuse_after_s=lambda _fqrn: self.refuse_after_s,
                withholding=Withholding(self._write),
                is_serving=lambda: self.is_serving,
                summary=lambda: "all is well",
                systemd=self.systemd,
                emit=self.events.append,
                now=lambda: self.now,
            )
        )

    async def _write(self, _fqrn: Fqrn, reason: str | None) -> None:
        self.notes.append(reason)


def test_too_far_behind() -> None:
    """Its manifest is kept from clients from a moment on, and given when it has caught up."""
    world = World(situation(), refuse_after_s=1000)

    async def main() -> None:
        watch = world.watch()
        await watch.look()
        world.replica.see(revision(8, age_s=900))
        await watch.look()
        world.now += timedelta(seconds=200)
        await watch.look()
        await watch.look()
        world.replica.served = revision(8, age_s=900)
        world.replica.see(world.replica.served)
        await watch.look()

    run(main())
    assert world.notes == [None, "this mirror is more than 1000 s behind the publisher", None]


def test_what_was_withheld_stays_so_until_it_is_known() -> None:
    """After a start nothing is known of the publisher."""
    world = World(situation(), refuse_after_s=1000)
    world.replica.last_look = None

    async def main() -> None:
        watch = world.watch()
        await watch.look()
        assert world.notes == []
        world.replica.last_look = NOW
        await watch.look()
        assert world.notes == [None]

    run(main())


def test_alarms_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """When they come, with what to do, and when they go."""
    world = World(situation())
    caplog.set_level(logging.INFO)

    async def main() -> None:
        watch = world.watch()
        failing(world.replica, Unavailable("nobody answers"), times=3)
        await watch.look()
        await watch.look()
        world.replica.failures, world.replica.trouble = 0, None
        await watch.look()

    run(main())
    raised, cleared = world.events
    assert isinstance(raised, AlarmRaised)
    assert isinstance(cleared, AlarmCleared)
    for event in world.events:
        log_alarm(event)
    first, second = (record.getMessage() for record in caplog.records)
    assert first.startswith(f"{FQRN}: failed: 3 attempts in a row failed: nobody answers; ")
    assert second == f"{FQRN}: failed is over, after 0 s"


def test_systemd_hears_of_us_while_clients_are_answered() -> None:
    """And not otherwise, so that it starts us anew."""
    world = World(situation())

    async def main() -> None:
        watch = world.watch()
        watch.start()
        await world.systemd.beats.wait()
        world.is_serving = False
        world.systemd.beats.clear()
        for _ in range(10):
            await asyncio.sleep(0.001)
        assert not world.systemd.beats.is_set()
        watch.nudge()
        await watch.stop()

    run(main())
    assert "STATUS=all is well" in world.systemd.lines
