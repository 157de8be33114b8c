"""A group of mirrors in a world where time, network and misfortune are simulated.

What runs is the real `Group`; links, floors on the disk, notes in the trees, and the keeper are
stand-ins that lose, delay and die. Clients ask workers, which outlive their daemon, see nothing but
the tree and its note, and know nothing of the group.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import Final

from mirror.daemon.group.council import Council
from mirror.daemon.group.group import Around, Group
from mirror.daemon.group.member import Member, Permission, Promise
from mirror.daemon.group.message import NOTHING, Message, Version, dump_message, parse_message
from mirror.errors import Unavailable

REPOSITORY: Final = "test.example.org"


@dataclass(frozen=True)
class Fate:
    """What kind of world it is.

    Attributes:
        size: members.
        lease_s: of a lease.
        wait_s: how long flips wait for members that are not ready.
        drift: how much faster or slower a clock may run.
        fetch_s: the longest that fetching a revision takes.
        delay_s: the longest that a message is under way, mostly.
    """

    size: int = 3
    lease_s: float = 6.0
    wait_s: float = 10.0
    drift: float = 0.01
    fetch_s: float = 3.0
    delay_s: float = 0.05


class WentBack(AssertionError):
    """A client saw something older than what it had seen."""


@dataclass
class Host:
    """What survives a crash: the disk, the clock, and workers.

    Attributes:
        promise: on the disk.
        tree: the version of its root files.
        until: its note, by its clock.
        group: its daemon; None while that is dead.
        may_run: not while it is stopped (SIGSTOP).
    """

    name: str
    rate: float
    offset: float
    promise: Promise | None = None
    tree: Version = NOTHING
    until: float = 0.0
    group: Group | None = None
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    may_run: asyncio.Event = field(default_factory=asyncio.Event)

    def clock(self) -> float:
        """Its own time."""
        return self.offset + asyncio.get_running_loop().time() * self.rate

    @property
    def gives(self) -> Version | None:
        """What a client gets from its workers."""
        return self.tree if self.clock() < self.until else None


class World:
    """All hosts, and everything in between.

    Attributes:
        published: what Stratum 0 has.
        seen: the newest that any client has seen.
        cut: links on which everything is lost, by asker and asked.
        loss: of messages, as a part of them.
        shown_at: when each version was first seen.
    """

    def __init__(self, fate: Fate, random: Random) -> None:
        self.fate = fate
        self.random = random
        self.council = Council("abcdefgh"[: fate.size])
        self.published = Version(1, 1000)
        self.seen = NOTHING
        self.cut: set[tuple[str, str]] = set()
        self.loss = 0.0
        self.shown_at: dict[Version, float] = {}
        self.hosts = {
            name: Host(
                name, 1 + random.uniform(-fate.drift, fate.drift), random.uniform(100.0, 1e6)
            )
            for name in self.council.members
        }
        for host in self.hosts.values():
            host.may_run.set()

    # --- what happens to hosts --------------------------------------------------------------------

    async def begin(self, name: str) -> None:
        """Start its daemon."""
        host = self.hosts[name]
        floors = host.promise.floors if host.promise is not None else None
        lease_s = self.fate.lease_s
        member = Member(name, self.council, lease_s, host.clock(), floors)
        links = {each: _Link(self, host, self.hosts[each]) for each in member.others}
        disk = _Disk(self, host)
        around = Around(links, disk, disk, host.clock, lambda _: host.asked.set(), self.fate.wait_s)
        host.group = Group(member, around)
        await host.group.keep([REPOSITORY])
        host.group.serves(REPOSITORY, host.tree)
        host.group.start()
        self.spawn(host, self._keep(host, host.group))

    async def crash(self, name: str) -> None:
        """End its daemon as kill -9 does; its workers go on."""
        host = self.hosts[name]
        host.may_run.set()
        group, host.group = host.group, None
        tasks = [*host.tasks, *(group._tasks if group is not None else ())]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def lose_disk(self, name: str) -> None:
        """Crash, and all is gone."""
        await self.crash(name)
        host = self.hosts[name]
        host.promise, host.tree, host.until = None, NOTHING, 0.0

    def spawn(self, host: Host, coroutine: Coroutine[object, None, None]) -> asyncio.Task[None]:
        """Something that a host does as long as it lives."""
        task: asyncio.Task[None] = asyncio.ensure_future(coroutine)
        host.tasks.add(task)
        task.add_done_callback(host.tasks.discard)
        return task

    async def end(self) -> None:
        """Everybody's."""
        for name in self.hosts:
            await self.crash(name)

    async def pass_time(self, host: Host, longest_s: float) -> None:
        """Something takes a while, and longer if the host is stopped."""
        await asyncio.sleep(self.random.uniform(0, longest_s))
        await host.may_run.wait()

    def publish(self) -> Version:
        """Stratum 0 has something new: mostly a revision, now and then only a signature."""
        step = self.random.random() < 0.9
        was = self.published
        self.published = Version(was.revision + step, was.published_at + self.random.randint(1, 9))
        return self.published

    async def _keep(self, host: Host, group: Group) -> None:
        """What a keeper does."""
        while True:
            version = self.published
            if version > host.tree:
                await self.pass_time(host, self.fate.fetch_s)
                await group.before_flip(REPOSITORY, version)
                await self.pass_time(host, 0.05)
                host.tree = version
                await self.pass_time(host, 0.02)
                group.serves(REPOSITORY, version)
            host.asked.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(self.random.uniform(1, 10)):
                    await host.asked.wait()
            await host.may_run.wait()

    # --- clients ----------------------------------------------------------------------------------

    def ask(self, name: str) -> Version | None:
        """A strict client, which never forgets what it has seen."""
        given = self.hosts[name].gives
        if given is None:
            return None
        now = asyncio.get_running_loop().time()
        self.shown_at.setdefault(given, now)
        if given < self.seen:
            raise WentBack(f"{name} gives {given} at {now:.3f} s, after {self.seen}")
        self.seen = given
        return given

    async def ask_on(self) -> None:
        """Clients that ask anybody, at any time."""
        while True:
            await asyncio.sleep(self.random.expovariate(1 / 0.03))
            self.ask(self.random.choice(self.council.members))

    async def until_all_give(self, version: Version, within_s: float) -> float:
        """How long it takes."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        while any(host.gives != version for host in self.hosts.values() if host.group is not None):
            assert loop.time() - began < within_s, self.how_it_is()
            await asyncio.sleep(0.02)
        return loop.time() - began

    def how_it_is(self) -> str:
        """For people who look for a mistake."""
        lines = [f"published {self.published}, seen {self.seen}"]
        for host in self.hosts.values():
            group = host.group
            told = group.member.permission(REPOSITORY, host.clock()) if group else "dead"
            lines.append(f"{host.name}: {host.tree}, gives {host.gives}: {told}")
        return "\n".join(lines)


class _Link:
    """Messages that are late, or lost, or processed when nobody waits for the answer any more."""

    def __init__(self, world: World, ours: Host, theirs: Host) -> None:
        self._world = world
        self._ours = ours
        self._theirs = theirs

    async def ask(self, message: Message) -> Message:
        """As `mirror.daemon.group.links.Link.ask`."""
        answered: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        await self._ours.may_run.wait()
        if self._arrives(self._ours, self._theirs):
            self._world.spawn(self._theirs, self._deliver(dump_message(message), answered))
        try:
            async with asyncio.timeout(self._world.fate.lease_s / 3):
                answer = await answered
        except TimeoutError as error:
            raise Unavailable("no answer") from error
        await self._ours.may_run.wait()
        return answer

    async def _deliver(self, raw: bytes, answered: asyncio.Future[Message]) -> None:
        world, theirs = self._world, self._theirs
        await world.pass_time(theirs, self._delay_s())
        if theirs.group is None:
            return
        answer = await theirs.group.answer(parse_message(raw))
        if self._arrives(theirs, self._ours):
            raw = dump_message(answer)
            await asyncio.sleep(self._delay_s())
            if not answered.done():
                answered.set_result(parse_message(raw))

    def _arrives(self, sender: Host, receiver: Host) -> bool:
        world = self._world
        is_cut = (sender.name, receiver.name) in world.cut
        return not is_cut and world.random.random() >= world.loss

    def _delay_s(self) -> float:
        """Short; now and then longer than anybody waits."""
        world = self._world
        return world.fate.delay_s * (200 if world.random.random() < 0.02 else 1)


class _Disk:
    """Floors and notes: each takes its time, and a crash may come before the end of it."""

    def __init__(self, world: World, host: Host) -> None:
        self._world = world
        self._host = host

    async def save(self, promise: Promise) -> None:
        """As `Memory.save`."""
        await self._world.pass_time(self._host, 0.05)
        if promise.is_member:
            self._host.promise = promise
        await self._world.pass_time(self._host, 0.01)

    async def show(self, permissions: Mapping[str, Permission]) -> None:
        """As `Permits.show`."""
        await self._world.pass_time(self._host, 0.01)
        for permission in permissions.values():
            self._host.until = permission.until


async def torment(world: World, publications: int, gentle: Callable[[], bool]) -> None:
    """Publish, while things happen to hosts and links; ``gentle`` says when nothing shall."""
    for _ in range(publications):
        world.publish()
        for _ in range(world.random.randint(1, 4)):
            await asyncio.sleep(world.random.uniform(0, 4))
            if not gentle():
                await _misfortune(world)


async def _misfortune(world: World) -> None:
    random = world.random
    name, other = random.sample(world.council.members, 2)
    host = world.hosts[name]
    match random.randrange(10):
        case 0:
            world.cut ^= {(name, other)}
        case 1:
            world.cut |= {(name, other), (other, name)}
        case 2:
            everybody = world.council.members
            world.cut |= {(name, each) for each in everybody} | {(each, name) for each in everybody}
        case 3 | 4:
            world.cut.clear()
            world.loss = random.choice([0.0, 0.0, 0.1, 0.3])
        case 5:
            await world.crash(name)
        case 6:
            await _revive(world)
        case 7 if may_lose(world, name):
            await world.lose_disk(name)
        case 8 if host.group is not None:
            host.may_run.clear()
        case _:
            for each in world.hosts.values():
                each.may_run.set()


def may_lose(world: World, name: str) -> bool:
    """One disk at a time, and not one that is a majority by itself."""
    whole = all(host.promise is not None for host in world.hosts.values())
    return whole and not world.council.is_majority([name])


async def _revive(world: World) -> None:
    for name, host in world.hosts.items():
        if host.group is None:
            await world.begin(name)


async def heal(world: World) -> None:
    """Everything is well again."""
    world.cut.clear()
    world.loss = 0.0
    for host in world.hosts.values():
        host.may_run.set()
    await _revive(world)
