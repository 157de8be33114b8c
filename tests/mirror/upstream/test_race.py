from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from mirror.errors import Corrupted, NotFound, StoreFull, Unavailable, UpstreamError
from mirror.upstream.base import Body, Consume, T, read_all
from mirror.upstream.race import Race
from tests.support.loops import is_cancelled_at, run_timeless

PATIENCE_S = 1.0


@dataclass(eq=False)
class Runner:
    """A source that answers after a while.

    Attributes:
        content: the answer.
        answers_s: how long after it was asked.
        error: instead of an answer.
        breaks: it raises this after the first piece.
        ended: what became of each time that it was asked.
    """

    content: bytes
    answers_s: float = 0.0
    error: Exception | None = None
    breaks: UpstreamError | None = None
    ended: list[str] = field(default_factory=list)

    async def __call__(self, consume: Consume[T]) -> T:
        """As `Ask`."""
        try:
            await asyncio.sleep(self.answers_s)
            if self.error is not None:
                raise self.error
            result = await consume(self._body())
        except BaseException as error:
            self.ended.append(type(error).__name__)
            raise
        self.ended.append("well")
        return result

    async def _body(self) -> Body:
        yield self.content
        await asyncio.sleep(0.1)
        if self.breaks is not None:
            raise self.breaks


@dataclass(eq=False)
class Consumer:
    """Reads everything, and has to be let go of.

    Attributes:
        results: that were handed out and not let go of.
        under_way: how many read at this moment.
        most_under_way: the most there were at one time.
        error: raised when all is read.
    """

    results: int = 0
    under_way: int = 0
    most_under_way: int = 0
    error: Exception | None = None

    async def __call__(self, body: Body) -> bytes:
        """As `Consume`."""
        self.results += 1
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            content = await read_all(body)
            await asyncio.sleep(0)
            if self.error is not None:
                raise self.error
        except BaseException:
            self.results -= 1
            raise
        finally:
            self.under_way -= 1
        return content


async def race(first: Runner, second: Runner | None, consume: Consumer | None = None) -> bytes:
    """Let them run."""
    return await Race[bytes](first, lambda: second, lambda: PATIENCE_S).run(consume or Consumer())


def test_who_answers_in_time_is_alone() -> None:
    """Nobody else is asked."""
    first, second = Runner(b"first", 0.9), Runner(b"second")
    assert run_timeless(race(first, second)) == b"first"
    assert (first.ended, second.ended) == (["well"], [])


def test_a_straggler_is_overtaken() -> None:
    """The second answers first; the first is cancelled before its answer came."""
    first, second = Runner(b"first", 100.0), Runner(b"second", 0.5)
    assert run_timeless(race(first, second)) == b"second"
    assert (first.ended, second.ended) == (["CancelledError"], ["well"])


def test_one_that_is_late_may_still_win() -> None:
    """Then the second is cancelled."""
    first, second = Runner(b"first", 1.2), Runner(b"second", 0.5)
    assert run_timeless(race(first, second)) == b"first"
    assert (first.ended, second.ended) == (["well"], ["CancelledError"])


def test_without_a_second_there_is_no_hurry() -> None:
    """The first is waited for."""
    assert run_timeless(race(Runner(b"first", 100.0), None)) == b"first"


@pytest.mark.parametrize("answers_s", [1.4, 1.5, 1.6])
def test_answers_at_the_same_time_are_consumed_once(answers_s: float) -> None:
    """Whoever is taken, the consumer is never at work twice at a time."""
    consumer = Consumer()
    run_timeless(race(Runner(b"x", answers_s), Runner(b"x", 0.5), consumer))
    assert (consumer.results, consumer.most_under_way) == (1, 1)


def test_when_the_first_fails_the_second_counts() -> None:
    """It was asked already, so it is waited for."""
    first, second = Runner(b"", 1.2, Unavailable("down")), Runner(b"second", 50.0)
    assert run_timeless(race(first, second)) == b"second"


def test_when_the_second_fails_the_first_counts() -> None:
    """As if it had never been asked."""
    first, second = Runner(b"first", 50.0), Runner(b"", 0.1, NotFound("not there"))
    assert run_timeless(race(first, second)) == b"first"


def test_one_that_fails_in_time_fails_alone() -> None:
    """Whom to ask then is not a matter of this race."""
    second = Runner(b"second")
    with pytest.raises(Unavailable, match="down"):
        run_timeless(race(Runner(b"", 0.1, Unavailable("down")), second))
    assert second.ended == []


@pytest.mark.parametrize(("first_s", "second_s"), [(1.2, 1.0), (2.0, 0.1)])
def test_when_both_fail_it_has_failed(first_s: float, second_s: float) -> None:
    """In whichever order."""
    first = Runner(b"", first_s, Unavailable("down"))
    with pytest.raises(UpstreamError):
        run_timeless(race(first, Runner(b"", second_s, NotFound("not there"))))


def test_a_body_that_breaks_is_its_sources_failure() -> None:
    """The second's own decorators see it, too."""
    second = Runner(b"second", breaks=Unavailable("broken"))
    with pytest.raises(Unavailable, match="broken"):
        run_timeless(race(Runner(b"first", 100.0), second))
    assert second.ended == ["Unavailable"]


def test_what_the_consumer_finds_passes_through() -> None:
    """And everybody is at rest by then."""
    for error in (StoreFull("full"), Corrupted("wrong hash")):
        first, second = Runner(b"first", 100.0), Runner(b"second")
        with pytest.raises(type(error)):
            run_timeless(race(first, second, Consumer(error=error)))
        assert len(first.ended) == len(second.ended) == 1


def test_a_mistake_of_ours_is_not_hidden() -> None:
    """What is no matter of a server is not overtaken by anybody."""
    with pytest.raises(RuntimeError, match="ours"):
        run_timeless(race(Runner(b"first", 5.0), Runner(b"", error=RuntimeError("ours"))))


def test_a_time_out_of_the_consumer_is_its_own() -> None:
    """It is not taken for the end of the first one's turn."""
    with pytest.raises(TimeoutError):
        run_timeless(race(Runner(b"first"), None, Consumer(error=TimeoutError())))


def test_patience_may_grow_meanwhile() -> None:
    """It is asked for again when it is over."""
    second = Runner(b"second")
    patience_s = iter([1.0, 3.0, 3.0])

    async def main() -> bytes:
        first = Runner(b"first", 2.0)
        return await Race[bytes](first, lambda: second, lambda: next(patience_s)).run(Consumer())

    assert run_timeless(main()) == b"first"
    assert second.ended == []


@pytest.mark.parametrize(("first_s", "second_s"), [(0.0, 0.0), (1.2, 5.0), (5.0, 0.2), (1.5, 0.5)])
@pytest.mark.parametrize("moment_s", [0.0, 0.1, 1.0, 1.2, 1.3, 1.5, 1.6])
def test_cancelled_at_any_moment_nothing_is_left(
    first_s: float, second_s: float, moment_s: float
) -> None:
    """No task, and no result that nobody has."""

    async def outcome(turn: int, consumer: Consumer) -> bool:
        runners = Runner(b"first", first_s), Runner(b"second", second_s)
        task = asyncio.ensure_future(race(*runners, consumer))
        await asyncio.sleep(moment_s)
        return await is_cancelled_at(turn, task)

    for turn in range(12):
        consumer = Consumer()
        was_cancelled = run_timeless(outcome(turn, consumer))
        assert (consumer.results, consumer.under_way) == (not was_cancelled, 0)
