from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from mirror.replication.room import Room
from tests.support.loops import run_timeless, turns

SIZE = 10


@given(st.lists(st.tuples(st.integers(1, 15), st.integers(0, 3), st.booleans()), max_size=30))
def test_never_more_than_there_is_room_for(groups: list[tuple[int, int, bool]]) -> None:
    """Whoever comes, stays, or gives up waiting; all the others get in, in their order."""
    inside: list[int] = []
    entered: list[int] = []

    async def visit(room: Room, number: int, count: int, stays: int) -> None:
        await room.enter(count)
        entered.append(number)
        inside.append(count)
        assert sum(inside) <= SIZE or inside == [count]
        try:
            await asyncio.sleep(stays)
        finally:
            inside.remove(count)
            room.leave(count)

    async def main() -> None:
        room = Room(SIZE)
        visits = [
            (asyncio.create_task(visit(room, number, count, stays)), leaves)
            for number, (count, stays, leaves) in enumerate(groups)
        ]
        await turns(2)
        for task, leaves in visits:
            if leaves:
                task.cancel()
                await turns(1)
        await asyncio.gather(*(task for task, _ in visits), return_exceptions=True)
        await room.enter(SIZE)  # all of it is free again

    run_timeless(main())
    assert entered == sorted(entered)
    assert {number for number, (_, _, leaves) in enumerate(groups) if not leaves} <= set(entered)


def test_given_while_being_cancelled() -> None:
    """Then it is given on."""

    async def main() -> None:
        room = Room(1)
        await room.enter(1)
        first = asyncio.create_task(room.enter(1))
        second = asyncio.create_task(room.enter(1))
        await turns(1)
        room.leave(1)
        first.cancel()
        await second
        assert first.cancelled()

    run_timeless(main())
