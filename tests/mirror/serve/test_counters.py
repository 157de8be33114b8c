"""What workers count is exact, whatever becomes of them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.serve.content import Outcome
from mirror.serve.counters import Counters, new_counters
from mirror.serve.ledger import Ledger
from mirror.serve.resources import Kind
from tests.support.requests import request

ROOT = Path(__file__).parents[3]
WORKER = """
import sys
from mirror.serve.counters import Counters
from mirror.serve.ledger import Ledger
from tests.support.requests import request
descriptor, slot, count = map(int, sys.argv[1:])
ledger = Ledger(Counters(descriptor).slot(slot))
for _ in range(count):
    ledger.add(request(body_bytes=10))
print("counted", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def counters() -> Iterator[Counters]:
    """For three workers."""
    with closing(new_counters(3)) as counters:
        yield counters


def worker(counters: Counters, slot: int, count: int) -> subprocess.Popen[bytes]:
    """Another process that counts so many requests, and then waits for its end."""
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, *map(str, (counters.descriptor, slot, count))],
        cwd=ROOT,
        pass_fds=[counters.descriptor],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def kill(process: subprocess.Popen[bytes]) -> None:
    """End it by force when it has counted."""
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"counted\n"
        process.kill()


def test_the_killed_stay_counted_and_are_succeeded(counters: Counters) -> None:
    """The next worker of a slot goes on where the last one ended."""
    for _ in range(2):
        kill(worker(counters, 1, 100))
    assert counters.totals()[Kind.OBJECT, Outcome.HIT_MEMORY] == (200, 2000)


def test_workers_at_once_lose_nothing(counters: Counters) -> None:
    """Each has numbers of its own."""
    workers = [worker(counters, slot, 5000) for slot in range(3)]
    for each in workers:
        kill(each)
    assert counters.totals()[Kind.OBJECT, Outcome.HIT_MEMORY] == (15_000, 150_000)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 2),
            st.sampled_from(Kind),
            st.sampled_from(Outcome),
            st.integers(0, 2**40),
        )
    )
)
def test_totals_are_sums_over_slots(
    served: list[tuple[int, Kind, Outcome, int]],
) -> None:
    """For each kind and outcome apart."""
    with closing(new_counters(3)) as counters:
        ledgers = [Ledger(counters.slot(number)) for number in range(3)]
        for slot, kind, outcome, size in served:
            ledgers[slot].add(request(kind=kind, outcome=outcome, body_bytes=size))
        for pair, total in counters.totals().items():
            sizes = [size for _, kind, outcome, size in served if (kind, outcome) == pair]
            assert total == (len(sizes), sum(sizes))


def test_there_are_so_many_slots(counters: Counters) -> None:
    """And a worker too many would count into nobody's."""
    assert counters.slots == 3
    for number in (-1, 3):
        with pytest.raises(IndexError):
            counters.slot(number)


def test_the_file_cannot_get_shorter(counters: Counters) -> None:
    """Whoever then read what is gone would be killed."""
    with pytest.raises(PermissionError):
        os.ftruncate(counters.descriptor, 0)


def test_a_slot_outlives_the_file() -> None:
    """A worker that drains counts until its end."""
    counters = new_counters(1)
    slot = counters.slot(0)
    counters.close()
    slot[0] += 1
    assert slot[0] == 1
