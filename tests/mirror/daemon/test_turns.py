"""So many at once, the longest waiting first, and a cancelled one takes nobody's place."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from mirror.daemon.turns import Turns
from tests.support.loops import run


class World:
    """Some who want a turn, and a clock that is moved by hand."""

    def __init__(self, at_once: int) -> None:
        self.now = 0.0
        self.turns = Turns(at_once, lambda: self.now)
        self.order: list[str] = []
        self.end = asyncio.Event()

    async def want(self, name: str, priority: int = 0, after_s: float = 1.0) -> asyncio.Task[None]:
        """Somebody asks, and is given the time to wait."""
        task = asyncio.create_task(self._have(name, priority))
        await asyncio.sleep(0)
        self.now += after_s
        return task

    async def _have(self, name: str, priority: int) -> None:
        async with self.turns.turn(priority):
            self.order.append(name)
            await self.end.wait()


def world(test: Callable[[World], Awaitable[None]], at_once: int = 1) -> None:
    """Run a test."""

    async def main() -> None:
        await test(World(at_once))

    run(main())


@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_so_many(at_once: int) -> None:
    """The others wait."""

    async def test(world: World) -> None:
        tasks = [await world.want(str(number)) for number in range(5)]
        assert len(world.order) == at_once
        assert world.turns.waiting == 5 - at_once
        world.end.set()
        await asyncio.gather(*tasks)
        assert world.order == ["0", "1", "2", "3", "4"]

    world(test, at_once)


def test_priority_is_time() -> None:
    """One step is a minute of waiting; who has waited longer than that is first all the same."""

    async def test(world: World) -> None:
        tasks = [await world.want("first")]
        tasks.append(await world.want("patient", after_s=100))
        tasks.append(await world.want("late"))
        tasks.append(await world.want("important", priority=1))
        world.end.set()
        await asyncio.gather(*tasks)
        assert world.order == ["first", "patient", "important", "late"]

    world(test)


@pytest.mark.parametrize("steps", range(6))
def test_cancelled(steps: int) -> None:
    """Who gives up, while waiting or just when it is due, takes nobody's place."""

    async def test(world: World) -> None:
        tasks = [await world.want(name) for name in ("1", "2", "3")]
        world.end.set()
        for _ in range(steps):
            await asyncio.sleep(0)
        tasks[1].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert world.order[-1] == "3"
        assert world.turns.waiting == 0
        await (await world.want("4"))
        assert world.order[-1] == "4"

    world(test)


def test_a_turn_can_be_lent() -> None:
    """Who waits for others does not keep them from working; afterwards all is as before."""

    async def test(world: World) -> None:
        async with world.turns.turn():
            async with world.turns.lent():
                other = await world.want("other")
                await asyncio.sleep(0)
                assert world.order == ["other"]
            third = await world.want("third")  # two have one turn now
            world.end.set()
            await other
            await asyncio.sleep(0)
            assert world.order == ["other"]
        await third
        assert world.order == ["other", "third"]

    world(test)
