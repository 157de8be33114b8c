from __future__ import annotations

import asyncio
import threading

import pytest

from mirror.store.threads import in_thread, open_in_thread
from tests.support.loops import run, turns


class Work:
    """Work that lasts until it is let go.

    Attributes:
        has_ended: whether it did.
    """

    def __init__(self, error: Exception | None = None) -> None:
        self.has_ended = False
        self._started = threading.Event()
        self._may_end = threading.Event()
        self._error = error

    def __call__(self) -> str:
        """Do it; blocks."""
        self._started.set()
        self._may_end.wait()
        self.has_ended = True
        if self._error is not None:
            raise self._error
        return "done"

    async def started(self) -> None:
        """Wait until it is under way."""
        await asyncio.to_thread(self._started.wait)

    def let_go(self) -> None:
        """Let it end."""
        self._may_end.set()


def test_work_leaves_the_loop() -> None:
    """Blocking work runs in another thread, and its result comes back."""
    assert run(in_thread(threading.get_ident)) != threading.get_ident()


def test_errors_come_back() -> None:
    """What the work raises is raised where it was asked for."""

    def fail() -> None:
        raise LookupError("lost")

    with pytest.raises(LookupError, match="lost"):
        run(in_thread(fail))


@pytest.mark.parametrize("cancellations", [1, 3])
@pytest.mark.parametrize("error", [None, LookupError()], ids=["good", "failing"])
def test_work_is_never_abandoned(cancellations: int, error: Exception | None) -> None:
    """However often it is cancelled, it gives way when the work has ended and not before."""
    work = Work(error)

    async def main() -> None:
        task = asyncio.ensure_future(in_thread(work))
        await work.started()
        for _ in range(cancellations):
            task.cancel()
            await turns(5)
            assert not task.done()
        work.let_go()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert work.has_ended

    run(main())


def test_work_that_never_began_may_be_abandoned() -> None:
    """The end of the loop cancels everything, and that is no reason to wait for ever."""

    async def main() -> None:
        task = asyncio.ensure_future(in_thread(lambda: "done"))
        await turns(1)
        for each in asyncio.all_tasks() - {asyncio.current_task()}:
            each.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    run(main())


class Opened:
    """Something that is open until it is closed."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self.is_closed = True

    def open(self) -> Opened:
        """Take hold of it; blocks."""
        self._work()
        self.is_closed = False
        return self

    def close(self) -> None:
        """Let go of it."""
        self.is_closed = True


@pytest.mark.parametrize("is_cancelled", [False, True])
def test_what_nobody_gets_is_closed(*, is_cancelled: bool) -> None:
    """What was opened for somebody who is cancelled meanwhile is closed again."""
    work = Work()
    opened = Opened(work)

    async def main() -> None:
        task = asyncio.ensure_future(open_in_thread(opened.open))
        await work.started()
        if is_cancelled:
            task.cancel()
        work.let_go()
        await asyncio.wait([task])
        assert task.cancelled() == is_cancelled
        assert opened.is_closed == is_cancelled

    run(main())
