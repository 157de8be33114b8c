"""An ordered map over processes, whatever happens to them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from mirror.errors import ConfigError, MirrorError, StoreFull, StoreUnavailable
from mirror.stratum0.workers import Workers
from tests.support.tasks import carry_out, until

Task = tuple[str, str]


@pytest.fixture
def workers() -> Iterator[Workers[Task, str]]:
    """Two."""
    workers = Workers(carry_out, 2)
    yield workers
    workers.close()


def numbered(*tasks: Task) -> Iterator[tuple[int, Task]]:
    """With keys."""
    return iter(enumerate(tasks))


def is_there(process: str) -> bool:
    """Whether it runs; a zombie does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_results_come_in_the_order_of_the_tasks(
    workers: Workers[Task, str], tmp_path: Path
) -> None:
    """The first ends after the second, since it waits for it; both are at work at once."""
    mark = str(tmp_path / "mark")
    found = list(workers.map(numbered(("await", mark), ("touch", mark), ("touch", mark))))
    assert [key for key, _ in found] == [0, 1, 2]
    assert len({process for _, process in found}) == 2


def test_no_process_is_started_without_a_task(workers: Workers[Task, str]) -> None:
    """One task needs one."""
    assert list(workers.map(numbered())) == []
    assert not workers._workers
    assert len(list(workers.map(numbered(("", ""))))) == 1
    assert len(workers._workers) == 1


@pytest.mark.parametrize(
    ("verb", "family", "text"),
    [
        ("config error", ConfigError, "the text\nthe text"),
        ("full", StoreFull, "the text"),
        ("mistake", RuntimeError, "UnsendableError: the text"),
    ],
)
def test_errors_are_told_to_whoever_asks_for_the_result(
    workers: Workers[Task, str], verb: str, family: type[Exception], text: str
) -> None:
    """Ours as they are; mistakes, of which not all can be sent, with their traceback as text."""
    with pytest.raises(family) as told:
        list(workers.map(numbered((verb, "the text"))))
    assert text in str(told.value)
    assert isinstance(told.value, MirrorError) == (str(told.value) == text)


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM", "SIGSEGV"])
def test_a_worker_that_is_killed_at_work_is_told(workers: Workers[Task, str], name: str) -> None:
    """With how, and what to do."""
    number = getattr(signal, name)
    with pytest.raises(StoreUnavailable, match=f"exit code -{number:d} .*publish again"):
        list(workers.map(numbered(("", ""), ("signal", name), ("", ""))))


@pytest.mark.parametrize("size_bytes", [1, 2**24])
def test_a_worker_that_is_killed_while_idle_is_told(
    workers: Workers[Task, str], size_bytes: int
) -> None:
    """Nobody waits for it to read a task, however large."""
    ((_, process),) = workers.map(numbered(("", "")))
    os.kill(int(process), signal.SIGKILL)
    with pytest.raises(StoreUnavailable, match="exit code -9"):
        list(workers.map(numbered(("", "x" * size_bytes))))


def test_ctrl_c_is_not_for_workers(workers: Workers[Task, str]) -> None:
    """A terminal sends it to all of a session, and it is the parent that ends them."""
    ((_, process),) = workers.map(numbered(("", "")))
    assert os.getsid(int(process)) != os.getsid(0)


def test_closing_ends_workers_whatever_they_are_at(
    workers: Workers[Task, str], tmp_path: Path
) -> None:
    """A large file is not waited for; and closing twice is harmless."""
    told = tmp_path / "told"

    def tasks() -> Iterator[tuple[int, Task]]:
        yield 0, ("tell", str(told))
        until(lambda: told.exists() and told.read_text() != "")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(workers.map(tasks()))
    assert is_there(told.read_text())
    workers.close()
    assert not is_there(told.read_text())
    workers.close()


def test_workers_end_with_their_parent(tmp_path: Path) -> None:
    """Even if it was killed, and they have work for an hour."""
    told = tmp_path / "told"
    program = f"from tests.support.tasks import work_for_ever; work_for_ever({str(told)!r})"
    root = Path(__file__).parents[3]
    with subprocess.Popen([sys.executable, "-c", program], cwd=root) as parent:
        until(lambda: told.exists() and told.read_text() != "")
        parent.kill()
    try:
        until(lambda: not is_there(told.read_text()))
    finally:
        with suppress(ProcessLookupError):
            os.kill(int(told.read_text()), signal.SIGKILL)
