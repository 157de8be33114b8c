"""The supervisor: so many workers on the same addresses, whatever becomes of each.

    listening sockets ─ one set per slot ─► slot 0: worker          all belong to the supervisor
                                            slot 1: worker ─ its successor, while it drains

It serves nothing itself, so it goes on when a worker cannot; and who waits for a worker that is
replaced is taken by the next one, since the sockets stay. It runs in anybody's event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Final, Self

from mirror.serve.counters import new_counters
from mirror.serve.descriptors import fitting, raise_descriptor_limit
from mirror.serve.doors import Doors
from mirror.serve.limits import ServeLimits
from mirror.serve.listening import Address
from mirror.serve.slot import Say, Slot
from mirror.serve.tls import TlsFiles, tls_context
from mirror.serve.worker_handle import WorkerFailed
from mirror.serve.worker_options import WorkerOptions

_RETRY_S: Final = 1.0
_COUNTER_SLOTS: Final = 1024
"""Of the workers that serve, and of those that drain: four times as many as the former can be."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be served, where, and by how many.

    Attributes:
        job: as in `WorkerOptions`, and the next two.
        about: what the job wants to know.
        limits: of each worker.
        listen: addresses for HTTP.
        secure: addresses for TLS; there are none without the next.
        tls: certificate and key.
        workers: how many processes.
        open_files: that each keeps open, beside its connections.
    """

    job: str
    about: Mapping[str, Any]
    limits: ServeLimits = field(default_factory=ServeLimits)
    listen: tuple[Address, ...] = ()
    secure: tuple[Address, ...] = ()
    tls: TlsFiles | None = None
    workers: int = 1
    open_files: int = 0


class Workers:
    """Keeps a plan going; use as an async context manager.

    Attributes:
        counters: what all workers there ever were have counted.
    """

    def __init__(self, say: Say) -> None:
        """Nothing runs yet; ``say`` takes what the operator has to know."""
        self._say = say
        self.counters = new_counters(_COUNTER_SLOTS)
        self._numbers = set(range(_COUNTER_SLOTS))
        self._doors = Doors()
        self._slots: list[Slot] = []
        self._limits = ServeLimits()
        self._leaving: list[Slot] = []
        self._changing = asyncio.Lock()

    @property
    def urls(self) -> list[str]:
        """Where clients find us."""
        return self._doors.urls

    @property
    def processes(self) -> list[int]:
        """Of the workers that serve now."""
        return [each.process for each in self._slots if each.process is not None]

    async def follow(self, plan: Plan) -> None:
        """Serve by this plan from now on; workers of the one before are replaced one by one.

        Raises:
            ConfigError: it cannot be followed. Then everything is as it was before.
        """
        async with self._changing:
            plan = self._checked(plan)
            doors = self._doors.changed(plan.listen, plan.secure, plan.workers)
            kept = self._slots[: plan.workers]
            fresh = [Slot(self._say, self._numbers) for _ in range(plan.workers - len(kept))]
            slots = [*kept, *fresh]
            try:  # one shows that it works before anything else is touched
                await slots[0].replace(self._options(plan, doors, 0))
            except BaseException:
                doors.close_but(self._doors)
                raise
            await self._commit(plan, doors, slots)
            await self._replace_others(plan, len(kept))

    def reopen(self) -> None:
        """Let all workers open their logs anew."""
        for each in [*self._slots, *self._leaving]:
            each.reopen()

    async def stop(self, within_s: float | None = None) -> None:
        """Let all workers end well, in that time; None for as long as the limits say.

        A `follow` that is under way has to be cancelled before.
        """
        time_s = self._limits.drain_s if within_s is None else within_s
        self._doors.close_but()  # the workers have the last copies: nobody else waits behind them
        self._doors = Doors()
        slots = [*self._slots, *self._leaving]
        try:
            await asyncio.gather(*(each.stop(time_s) for each in slots))
        finally:
            self._slots, self._leaving = [], []

    def kill(self) -> None:
        """End all workers now."""
        for each in [*self._slots, *self._leaving]:
            each.kill()

    def _checked(self, plan: Plan) -> Plan:
        """The plan, with limits that this host allows."""
        limits, warning = fitting(plan.limits, plan.open_files, raise_descriptor_limit())
        if warning:
            self._say(warning)
        if plan.tls is not None:
            tls_context(plan.tls)  # to find out now, and not N times
        return replace(plan, limits=limits)

    async def _commit(self, plan: Plan, doors: Doors, slots: list[Slot]) -> None:
        """From here on there is no way back."""
        old, surplus = self._doors, self._slots[len(slots) :]
        self._doors, self._slots = doors, slots
        old.close_but(doors)
        self._leaving = [each for each in self._leaving if each.is_occupied] + surplus
        for each in surplus:
            await each.leave(self._limits.drain_s)
        self._limits = plan.limits

    async def _replace_others(self, plan: Plan, kept: int) -> None:
        """New slots side by side, since each worker takes a while; the others one by one."""
        options = [self._options(plan, self._doors, number) for number in range(plan.workers)]
        others = list(zip(self._slots, options, strict=True))
        await asyncio.gather(*(self._replace(*each) for each in others[max(kept, 1) :]))
        for each in others[1:kept]:
            await self._replace(*each)

    async def _replace(self, slot: Slot, options: WorkerOptions) -> None:
        """As long as it takes: where a new address has no worker, its clients wait for nobody."""
        while True:
            try:
                await slot.replace(options)
            except WorkerFailed as error:
                self._say(f"{error}; it is tried again in {_RETRY_S:g} s")
                await asyncio.sleep(_RETRY_S)
            else:
                return

    def _options(self, plan: Plan, doors: Doors, worker: int) -> WorkerOptions:
        plain, secure = doors.of(worker)
        return WorkerOptions(
            job=plan.job,
            about=plan.about,
            limits=plan.limits,
            plain=tuple(each.fileno() for each in plain),
            secure=tuple(each.fileno() for each in secure),
            tls=plan.tls,
            worker=worker,
            descriptors={"counters": self.counters.descriptor},
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            await self.stop(None if kind is None else 0)
        finally:
            self.counters.close()
