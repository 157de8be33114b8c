from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.errors import StoreFull, StoreUnavailable
from mirror.store.group_commit import GroupCommit
from tests.support.loops import run, turns


class Desk:
    """A `GroupCommit` whose commits and syncs are only written down.

    Attributes:
        log: ``stage a``, ``sync``, ``reveal a``, ``discard a``, in order.
        failing: entries of the log that raise instead.
        hold: what the next sync waits for.
    """

    def __init__(self, *failing: str) -> None:
        self.log: list[str] = []
        self.failing = set(failing)
        self.hold = threading.Event()
        self.hold.set()
        self._group = GroupCommit(self._sync)

    def _sync(self) -> None:
        self.hold.wait()
        self.note("sync")

    def note(self, what: str) -> None:
        """Write it down, or fail."""
        self.log.append(what)
        if what in self.failing:
            raise StoreFull(what)

    async def commit(self, name: str) -> str:
        """Carry out one commit."""
        await self._group.carry_out(Noted(name, self.note))
        return name

    def commit_all(self, *names: str) -> list[str | BaseException]:
        """Carry out several that wait at the same time."""

        async def main() -> list[str | BaseException]:
            commits = (self.commit(name) for name in names)
            return await asyncio.gather(*commits, return_exceptions=True)

        return run(main())


class Noted:
    """A commit that is only written down."""

    def __init__(self, name: str, note: Callable[[str], None]) -> None:
        self._name = name
        self._note = note

    def stage(self) -> None:
        """As `Commit.stage`."""
        self._note(f"stage {self._name}")

    def reveal(self) -> None:
        """As `Commit.reveal`."""
        self._note(f"reveal {self._name}")

    def discard(self) -> None:
        """As `Commit.discard`."""
        self._note(f"discard {self._name}")


def test_one_commit() -> None:
    """Its bytes are made durable before its name is."""
    desk = Desk()
    assert desk.commit_all("a") == ["a"]
    assert desk.log == ["stage a", "sync", "reveal a"]


def test_those_that_wait_share_a_sync() -> None:
    """The first goes alone; all that came meanwhile go together."""
    desk = Desk()
    assert desk.commit_all("a", "b", "c") == ["a", "b", "c"]
    alone, together = desk.log[:3], desk.log[3:]
    assert alone == ["stage a", "sync", "reveal a"]
    assert together == ["stage b", "stage c", "sync", "reveal b", "reveal c"]


def test_a_name_is_durable_before_that_of_whoever_waited_for_it() -> None:
    """Between a child's reveal and its parent's there is a sync."""
    desk = Desk()

    async def main() -> None:
        await asyncio.gather(desk.commit("child"), desk.commit("other"))
        await desk.commit("parent")

    run(main())
    between = desk.log[desk.log.index("reveal child") : desk.log.index("reveal parent")]
    assert "sync" in between


@pytest.mark.parametrize("half", ["stage", "reveal"])
def test_a_failure_is_its_own(half: str) -> None:
    """One that fails is discarded and told so; the others of the batch do not notice."""
    desk = Desk(f"{half} c")
    results = desk.commit_all("a", "b", "c", "d")
    assert [str(result) for result in results] == ["a", "b", f"{half} c", "d"]
    assert isinstance(results[2], StoreFull)
    assert {"reveal b", "reveal d", "discard c"} <= set(desk.log)


def test_what_was_not_staged_is_not_revealed() -> None:
    """A name never leads to half of the bytes."""
    desk = Desk("stage a")
    desk.commit_all("a")
    assert desk.log == ["stage a", "sync", "discard a"]


def test_without_a_sync_nothing_is_revealed() -> None:
    """What may not be durable may not be visible; the whole batch hears why."""
    desk = Desk("sync")
    results = desk.commit_all("a", "b", "c")
    assert {str(result) for result in results} == {"sync"}
    assert not [each for each in desk.log if each.startswith("reveal")]
    assert {"discard a", "discard b", "discard c"} <= set(desk.log)


def test_the_first_error_is_the_one_told() -> None:
    """What goes wrong while cleaning up hides nothing."""
    desk = Desk("stage a", "sync", "discard a")
    assert [str(result) for result in desk.commit_all("a")] == ["stage a"]


def test_after_a_failure_all_is_well() -> None:
    """The next batch has nothing to do with the last."""
    desk = Desk("sync")
    desk.commit_all("a")
    desk.failing.clear()
    assert desk.commit_all("b") == ["b"]


def test_other_errors_are_told_too() -> None:
    """A mistake of ours is raised where the commit is awaited, not swallowed by the batch."""

    def sync() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(GroupCommit(sync).carry_out(Noted("a", lambda _what: None)))


def test_cancelled_while_waiting() -> None:
    """It is withdrawn, and never carried out with somebody else's."""
    desk = Desk()
    desk.hold.clear()

    async def main() -> None:
        first = asyncio.ensure_future(desk.commit("a"))
        second = asyncio.ensure_future(desk.commit("b"))
        await turns(5)
        second.cancel()
        await asyncio.wait([second])
        desk.hold.set()
        assert [await first, await desk.commit("c")] == ["a", "c"]

    run(main())
    assert "stage b" not in desk.log


def test_cancelled_while_carrying_out() -> None:
    """Whoever has the turn ends the work for all, and gives way only then."""
    desk = Desk()
    desk.hold.clear()

    async def main() -> None:
        carrier = asyncio.ensure_future(desk.commit("a"))
        waiter = asyncio.ensure_future(desk.commit("b"))
        await turns(5)
        carrier.cancel()
        await turns(5)
        assert not carrier.done()
        desk.hold.set()
        assert await waiter == "b"

    run(main())
    assert "reveal a" in desk.log


names = st.lists(st.sampled_from("abcdefgh"), unique=True)
failures = st.sets(st.sampled_from([f"{h} {n}" for h in ("stage", "reveal") for n in "abcdefgh"]))


def assert_orderly(log: list[str], name: str) -> None:
    """It was revealed once, after its staging and a sync and before the end; or not at all."""
    assert log.count(f"reveal {name}") <= 1
    if f"reveal {name}" in log:
        staged, revealed = log.index(f"stage {name}"), log.index(f"reveal {name}")
        assert staged < log.index("sync", staged) < revealed < log.index("end")


@given(names, failures, st.sets(st.sampled_from("abcdefgh")), st.integers(0, 12))
def test_whatever_happens(
    names: list[str], failures: set[str], cancelled: set[str], patience: int
) -> None:
    """Each is revealed in order or not at all, never after the end, and its own error is told."""
    desk = Desk(*failures)

    async def main() -> dict[str, asyncio.Task[str]]:
        tasks = {name: asyncio.ensure_future(desk.commit(name)) for name in names}
        await turns(patience)
        for name in cancelled & tasks.keys():
            tasks[name].cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)
        desk.log.append("end")
        await desk.commit("z")
        return tasks

    for name, task in run(main()).items():
        assert_orderly(desk.log, name)
        if not task.cancelled():
            fails = {f"stage {name}", f"reveal {name}"} & failures
            assert bool(fails) == isinstance(task.exception(), StoreFull)


def test_errors_keep_their_family() -> None:
    """What a caller must do about it is not lost on the way."""

    def stage(what: str) -> None:
        raise StoreUnavailable(what)

    with pytest.raises(StoreUnavailable):
        run(GroupCommit(lambda: None).carry_out(Noted("a", stage)))
