from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.errors import Corrupted, NotFound, TooSlow, Unavailable, UpstreamError
from mirror.upstream.base import Body, Consume, Request, T, read_all
from mirror.upstream.concurrency import AdaptiveLimit, ConcurrencyRange
from mirror.upstream.limited import Limited
from tests.support.loops import run, turns
from tests.support.simulated import SimulatedStratum0

FILES = {str(number): b"x" * number for number in range(200)}


def fixed(value: int) -> AdaptiveLimit:
    """A limit that does not change."""
    return AdaptiveLimit(ConcurrencyRange(value, value, value))


async def fetch(limited: Limited, path: str) -> bytes:
    """One file."""
    return await limited.fetch(Request(path, 1000), read_all)


class Gate:
    """An upstream that answers when told to.

    Attributes:
        asked: paths under way, in the order they came.
    """

    source = "gate://"

    def __init__(self) -> None:
        self.asked: dict[str, asyncio.Future[None]] = {}

    async def fetch(self, request: Request, consume: Consume[T]) -> T:
        """As `Upstream.fetch`."""
        self.asked[request.path] = asyncio.get_running_loop().create_future()
        try:
            await self.asked[request.path]
            return await consume(_nothing())
        finally:
            del self.asked[request.path]

    async def open(self, path: str) -> None:
        """Answer one, and let things happen."""
        self.asked[path].set_result(None)
        await turns(5)


async def _nothing() -> Body:
    yield b""


class Heard(AdaptiveLimit):
    """A limit that remembers what it heard.

    Attributes:
        answers: bytes received, and whether it was a failure.
    """

    def __init__(self) -> None:
        super().__init__(ConcurrencyRange())
        self.answers: list[tuple[int, bool]] = []

    def record(
        self, now_s: float, received_bytes: int, *, is_failure: bool, is_tight: bool = True
    ) -> None:
        """As `AdaptiveLimit.record`."""
        super().record(now_s, received_bytes, is_failure=is_failure, is_tight=is_tight)
        self.answers.append((received_bytes, is_failure))


@pytest.mark.parametrize("value", [1, 2, 7, 300])
def test_never_more_than_the_limit(value: int) -> None:
    """All complete, as many as allowed at once and no more."""
    stratum0 = SimulatedStratum0(FILES)
    limited = Limited(stratum0, fixed(value))

    async def main() -> list[bytes]:
        return await asyncio.gather(*(fetch(limited, path) for path in FILES))

    assert run(main()) == list(FILES.values())
    assert stratum0.most_under_way == min(value, len(FILES))


def test_first_come_first_served() -> None:
    """Nobody who came later overtakes."""
    stratum0 = SimulatedStratum0(FILES)
    limited = Limited(stratum0, fixed(3))

    async def main() -> None:
        await asyncio.gather(*(fetch(limited, path) for path in FILES))

    run(main())
    assert stratum0.paths == list(FILES)


def test_failures_give_their_turn_back() -> None:
    """An error frees a slot as well as an answer does."""
    limited = Limited(SimulatedStratum0({}), fixed(2))

    async def main() -> list[bytes | BaseException]:
        tasks = (fetch(limited, path) for path in FILES)
        return await asyncio.gather(*tasks, return_exceptions=True)

    assert {type(result) for result in run(main())} == {NotFound}


def test_a_higher_limit_lets_all_in_who_may() -> None:
    """When the limit has grown, one that leaves makes room for several."""
    gate, limit = Gate(), fixed(1)
    limited = Limited(gate, limit)

    async def main() -> None:
        async with asyncio.TaskGroup() as tasks:
            for path in "abcd":
                tasks.create_task(fetch(limited, path))
            await turns(5)
            assert list(gate.asked) == ["a"]
            limit._limit = 2.0
            await gate.open("a")
            assert list(gate.asked) == ["b", "c"]
            for path in "bcd":
                await gate.open(path)

    run(main())


def test_a_lower_limit_lets_nobody_in_until_it_is_kept() -> None:
    """When the limit has shrunk, several leave before one may come."""
    gate, limit = Gate(), fixed(2)
    limited = Limited(gate, limit)

    async def main() -> None:
        async with asyncio.TaskGroup() as tasks:
            for path in "abcd":
                tasks.create_task(fetch(limited, path))
            await turns(5)
            limit._limit = 1.0
            for path, under_way in (("a", ["b"]), ("b", ["c"]), ("c", ["d"]), ("d", [])):
                await gate.open(path)
                assert list(gate.asked) == under_way

    run(main())


def test_cancelled_before_its_turn() -> None:
    """Whoever gives up waiting takes no slot along, and holds up nobody."""
    gate = Gate()
    limited = Limited(gate, fixed(1))

    async def main() -> None:
        tasks = {path: asyncio.ensure_future(fetch(limited, path)) for path in "abc"}
        await turns(5)
        tasks["b"].cancel()
        await turns(5)
        await gate.open("a")
        assert list(gate.asked) == ["c"]
        await gate.open("c")
        assert await tasks["c"] == b""

    run(main())


def test_cancelled_while_given_its_turn() -> None:
    """A turn that comes in the same moment as a cancellation goes to the next one."""
    gate = Gate()
    limited = Limited(gate, fixed(1))

    async def main() -> None:
        tasks = {path: asyncio.ensure_future(fetch(limited, path)) for path in "abc"}
        await turns(5)
        gate.asked["a"].set_result(None)
        await turns(1)
        tasks["b"].cancel()
        await turns(5)
        assert tasks["b"].cancelled()
        assert list(gate.asked) == ["c"]
        await gate.open("c")

    run(main())


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 15)), max_size=15), st.integers(1, 4))
def test_no_cancellation_leaks_a_slot(cancels: list[tuple[int, int]], value: int) -> None:
    """Whoever is cancelled, and whenever: the others complete, and all slots are free then."""
    stratum0 = SimulatedStratum0(FILES)
    limited = Limited(stratum0, fixed(value))

    async def main() -> None:
        tasks = [asyncio.ensure_future(fetch(limited, str(number))) for number in range(16)]
        for moment, victim in sorted(cancels):
            await turns(moment)
            tasks[victim].cancel()
        await asyncio.wait(tasks)
        assert {n for n, task in enumerate(tasks) if task.cancelled()} <= {v for _, v in cancels}
        stratum0.most_under_way = 0
        await asyncio.gather(*(fetch(limited, path) for path in FILES))

    run(main())
    assert stratum0.most_under_way == value


def heard(inner: SimulatedStratum0 | Gate, paths: Iterable[str]) -> list[tuple[int, bool]]:
    """What the limit hears when these are fetched."""
    limit = Heard()
    limited = Limited(inner, limit)

    async def main() -> None:
        for path in paths:
            await fetch(limited, path)

    run(main())
    return limit.answers


def test_answers_are_recorded() -> None:
    """With their bytes, since those tell how well it goes."""
    assert heard(SimulatedStratum0(FILES), ["3", "0", "199"]) == [
        (3, False),
        (0, False),
        (199, False),
    ]


@pytest.mark.parametrize(
    ("error", "is_heard"),
    [(Unavailable, True), (TooSlow, True), (NotFound, False), (Corrupted, False)],
)
def test_failures_are_recorded(error: type[UpstreamError], *, is_heard: bool) -> None:
    """Those that more load would make worse, and with what had come; the others say nothing."""
    limit = Heard()
    limited = Limited(SimulatedStratum0(FILES), limit)

    async def consume(body: Body) -> None:
        raise error(str(len(await read_all(body))))

    with pytest.raises(error, match="199"):
        run(limited.fetch(Request("199", 1000), consume))
    assert limit.answers == [(199, True)] * is_heard


def test_it_says_where_the_inner_one_fetches_from() -> None:
    """A decorator is not a place."""
    assert Limited(Gate(), fixed(1)).source == "gate://"
