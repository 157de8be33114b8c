"""One member at work: exchanges with the others, keeps floors, lends permission.

Whatever is heard is first obeyed (`Group.settle`: permissions taken back, then floors made durable)
and only then answered.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from mirror.daemon.group.flip import Flip
from mirror.daemon.group.floors import Memory
from mirror.daemon.group.links import Link
from mirror.daemon.group.member import JUST_STARTED, Member, Permission
from mirror.daemon.group.message import Message, Version
from mirror.daemon.group.permits import Permits
from mirror.errors import FormatError, MirrorError, UpstreamError, printable

_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Around:
    """What a member works with.

    Attributes:
        links: to each of the others.
        memory: keeps floors.
        permits: shows permissions.
        clock: seconds that never go back and never stop, rebooting apart.
        look: has a repository looked at, because another member is further.
        wait_s: how long a flip waits for members that are alive, but not ready.
    """

    links: Mapping[str, Link]
    memory: Memory
    permits: Permits
    clock: Callable[[], float]
    look: Callable[[str], None]
    wait_s: float


class Group:
    """See above.

    Attributes:
        member: what it knows.
        kept: repositories that are replicated here.
        flips: what those wait for that are about to flip.
    """

    def __init__(self, member: Member, around: Around) -> None:
        """Do nothing yet."""
        self.member = member
        self.kept: set[str] = set()
        self.flips: dict[str, str] = {}
        self._around = around
        self._period_s = member.lease_s / 3
        self._settling = asyncio.Lock()
        self._news = asyncio.Event()
        self._wakes = {name: asyncio.Event() for name in around.links}
        self._looked: dict[str, float] = {}
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def now(self) -> float:
        """By this member's clock."""
        return self._around.clock()

    # --- beginning and ending ---------------------------------------------------------------------

    async def keep(self, repositories: Iterable[str]) -> None:
        """Replicate these from now on; before anybody serves them, since they are withheld first.

        Raises:
            StoreError: they cannot be withheld.
        """
        wanted = set(repositories)
        for name in self.kept - wanted:
            self.member.forget(name)
        fresh = wanted - self.kept
        async with self._settling:
            await self._around.permits.show(dict.fromkeys(fresh, Permission(0.0, JUST_STARTED)))
        self.kept = wanted

    def start(self) -> None:
        """Exchange from now on; harmless when repeated."""
        if self._tasks:
            return
        exchanges = [self._exchange(name, link) for name, link in self._around.links.items()]
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(each) for each in [*exchanges, self._stay_settled()]]

    async def stop(self) -> None:
        """Exchange no more; leases end by themselves."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    # --- what others want -------------------------------------------------------------------------

    async def answer(self, message: Message) -> Message:
        """What another member says, and what we say to that.

        Raises:
            StoreError: we cannot do what follows from it, so there is no answer.
        """
        await self._hear(message)
        return self.member.compose(self._around.clock(), to=message.sender)

    async def before_flip(self, repository: str, version: Version) -> None:
        """Wait until root files of this version may be put before clients."""
        if version < self.member.standing(repository).served:  # an operator goes back on purpose
            self.member.serves(repository, version)
        flip = Flip(self.member, repository, version, self._around.wait_s, self._around.clock())
        self._tell()
        try:
            self.flips[repository] = f"{version} waits for members that are not ready"
            await self._until(flip.may_raise)
            self.flips[repository] = f"{version} waits until nobody can serve anything older"
            self.member.raise_floor(repository, version)
            await self.settle()
            await self._until(flip.may_show)
        finally:
            self.flips.pop(repository, None)

    def serves(self, repository: str, version: Version) -> None:
        """The root files are of this version now."""
        self.member.serves(repository, version)
        self._tell()

    def refuse(self, repository: str, reason: str | None) -> None:
        """Withhold a repository for a reason that is not the group's, until called with None."""
        if reason is None:
            self.member.refused.pop(repository, None)
        else:
            self.member.refused[repository] = reason
        self._tell()

    async def settle(self) -> None:
        """Obey what is known: take back or give permission, then make floors durable.

        Raises:
            StoreError: it could not be done; nobody is told of it then.
        """
        async with self._settling:
            promise = self.member.unsettled()
            now = self._around.clock()
            permissions = {name: self.member.permission(name, now) for name in self.kept}
            await self._around.permits.show(permissions)
            if promise is not None:
                await self._around.memory.save(promise)
                self.member.settled(promise)
                self._tell()

    # --- inside -----------------------------------------------------------------------------------

    async def _exchange(self, name: str, link: Link) -> None:
        """Again and again: a third of a lease apart, or at once if there is something to tell."""
        wake, member = self._wakes[name], self.member
        while True:
            wake.clear()
            sent_at = self._around.clock()
            try:
                answer = await link.ask(member.compose(sent_at))
            except (UpstreamError, FormatError) as error:
                member.fails(name, str(error))
                await asyncio.sleep(self._period_s / 10)
            else:
                with suppress(MirrorError):  # settling is tried again, and complains
                    await self._hear(answer, sent_at)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._period_s):
                    await wake.wait()

    async def _hear(self, message: Message, sent_at: float | None = None) -> None:
        self.member.hear(message, self._around.clock(), sent_at)
        self._ring()
        self._follow()
        await self.settle()

    async def _stay_settled(self) -> None:
        while True:
            try:
                await self.settle()
            except MirrorError as error:
                _log.error("the group's state cannot be kept: %s", printable(str(error)))
            await self._news_within(self._period_s)

    async def _until(self, holds: Callable[[float], bool]) -> None:
        while not holds(self._around.clock()):
            await self._news_within(self._period_s / 10)

    async def _news_within(self, seconds: float) -> None:
        news = self._news
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await news.wait()

    def _ring(self) -> None:
        """Wake whoever waits for news, once."""
        news, self._news = self._news, asyncio.Event()
        news.set()

    def _tell(self) -> None:
        """Something changed here: settle it, and have the others know."""
        self._ring()
        for each in self._wakes.values():
            each.set()

    def _follow(self) -> None:
        """Look where others are further, but not all the time."""
        now = self._around.clock()
        for name in self.kept:
            wanted = max(self.member.newest_elsewhere(name), self.member.floor(name))
            is_due = now - self._looked.get(name, float("-inf")) >= self.member.lease_s
            if wanted > self.member.standing(name).ready and is_due:
                self._looked[name] = now
                self._around.look(name)
