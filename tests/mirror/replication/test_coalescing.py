from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from mirror.errors import Unavailable
from mirror.replication.coalescing import Coalescing
from tests.support.loops import run_timeless, turns

MOST = 4
MOMENT_S = 0.5


class Doubling:
    """Doubles numbers, and remembers what it was given together.

    Attributes:
        calls: one list for each call.
        error: raised instead, if there is one.
    """

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.error: Exception | None = None
        self.takes_s = 0.0

    async def __call__(self, numbers: Sequence[int]) -> dict[int, int]:
        """Answer."""
        self.calls.append(list(numbers))
        await asyncio.sleep(self.takes_s)
        if self.error is not None:
            raise self.error
        return {number: 2 * number for number in numbers}


async def asked(coalescing: Coalescing[int, dict[int, int]], *numbers: int) -> dict[int, int]:
    """What is asked for, of what is answered."""
    answer = await coalescing(numbers)
    return {number: answer[number] for number in numbers}


def test_calls_of_one_moment_become_one() -> None:
    """Everybody gets what they asked for."""
    doubling = Doubling()

    async def main() -> None:
        coalescing = Coalescing(doubling, MOST, MOMENT_S)
        answers = await asyncio.gather(asked(coalescing, 1), asked(coalescing, 2, 3))
        assert list(answers) == [{1: 2}, {2: 4, 3: 6}]
        assert await asked(coalescing, 4) == {4: 8}

    run_timeless(main())
    assert doubling.calls == [[1, 2, 3], [4]]


def test_enough_is_not_waited_for() -> None:
    """What is many already goes at once."""
    doubling = Doubling()

    async def main() -> float:
        coalescing = Coalescing(doubling, MOST, MOMENT_S)
        await asked(coalescing, *range(MOST))
        return asyncio.get_running_loop().time()

    assert run_timeless(main()) < MOMENT_S


def test_one_call_does_not_wait_for_another() -> None:
    """The next moment begins while the last one's answer is still to come."""
    doubling = Doubling()
    doubling.takes_s = 10.0

    async def main() -> float:
        coalescing = Coalescing(doubling, MOST, MOMENT_S)
        await asyncio.gather(*(asked(coalescing, *range(MOST)) for _ in range(5)))
        return asyncio.get_running_loop().time()

    assert run_timeless(main()) < 2 * doubling.takes_s
    assert len(doubling.calls) == 5


def test_an_error_is_everybodys() -> None:
    """And only of those who asked together."""
    doubling = Doubling()
    doubling.error = Unavailable("no")

    async def main() -> None:
        coalescing = Coalescing(doubling, MOST, MOMENT_S)
        answers = await asyncio.gather(
            asked(coalescing, 1), asked(coalescing, 2), return_exceptions=True
        )
        assert list(answers) == [doubling.error] * 2
        doubling.error = None
        assert await asked(coalescing, 3) == {3: 6}

    run_timeless(main())


def test_who_leaves_takes_nothing_from_others() -> None:
    """One that is cancelled was only waiting."""
    doubling = Doubling()

    async def main() -> None:
        coalescing = Coalescing(doubling, MOST, MOMENT_S)
        leaving = asyncio.create_task(asked(coalescing, 1))
        staying = asyncio.create_task(asked(coalescing, 2))
        await turns(1)
        leaving.cancel()
        assert await staying == {2: 4}

    run_timeless(main())


@pytest.mark.parametrize("passed_s", [0.0, MOMENT_S * 2])
def test_closing_ends_everything(passed_s: float) -> None:
    """Nobody waits for an answer for ever, and no task goes on."""
    doubling = Doubling()
    doubling.takes_s = 1000.0

    async def main() -> None:
        coalescing = Coalescing(doubling, MOST, MOMENT_S)
        waiting = asyncio.create_task(asked(coalescing, 1))
        await asyncio.sleep(passed_s)
        await coalescing.close()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    run_timeless(main())
