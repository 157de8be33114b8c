from __future__ import annotations

import asyncio

import pytest

from mirror.replication.meanwhile import meanwhile
from tests.support.loops import is_cancelled_at, run, turns


async def forever(ended: list[str]) -> None:
    """Ends only when it is cancelled, and even then not at once."""
    try:
        await asyncio.Event().wait()
    finally:
        await turns(3)
        ended.append("forever")


async def failing() -> None:
    """Fails, though not at once."""
    await turns(1)
    raise ValueError("late")


def test_both_go_on_together() -> None:
    """What was begun is done when it is needed."""
    told = []

    async def main() -> None:
        async def work() -> int:
            told.append("work")
            return 7

        async with meanwhile(work()) as outcome:
            await turns(1)
            told.append("context")
            assert await outcome == 7

    run(main())
    assert told == ["work", "context"]


def test_the_context_fails_first() -> None:
    """Its error counts, and what went on beside it has ended."""
    ended: list[str] = []

    async def main() -> None:
        async with meanwhile(forever(ended)):
            await turns(1)
            raise KeyError

    with pytest.raises(KeyError):
        run(main())
    assert ended == ["forever"]


def test_an_error_waits_to_be_asked_for() -> None:
    """So errors come in the order in which the context looks at them."""

    async def main(*, asks: bool) -> None:
        async with meanwhile(failing()) as outcome:
            await turns(5)
            if asks:
                await outcome

    run(main(asks=False))
    with pytest.raises(ValueError, match="late"):
        run(main(asks=True))


@pytest.mark.parametrize("turn", range(1, 6))
def test_cancelled(turn: int) -> None:
    """At whatever moment: nothing goes on."""
    ended: list[str] = []

    async def main() -> None:
        async with meanwhile(forever(ended)):
            await turns(3)

    assert run(is_cancelled_at(turn, main()))
    assert ended == ["forever"]


def test_cancelled_while_it_ends() -> None:
    """It is still waited for, and the cancellation is not lost."""
    ended: list[str] = []

    async def main() -> None:
        async with meanwhile(forever(ended)):
            await turns(1)

    assert run(is_cancelled_at(3, main()))
    assert ended == ["forever"]
