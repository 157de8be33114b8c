"""Counters of all workers, in memory that they share with the supervisor.

    slot of worker 0            slot of worker 1            …
    requests, bytes, requests…  requests, bytes, requests…

Each worker adds to its own slot only, so nothing is locked and nothing is counted twice. Numbers
have 64 bits at addresses divisible by 8, which processors read and write at once: who sums them up
never sees half of one. What a worker has counted survives it, and its successor goes on in the same
slot. Only a worker that dies between the two numbers of one request leaves its bytes uncounted.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from collections.abc import Mapping
from typing import Final

from mirror.serve.content import Outcome
from mirror.serve.ledger import COUNTERS, KINDS, OUTCOMES, position
from mirror.serve.resources import Kind

_BYTES: Final = 8
_CACHE_LINE: Final = 64 // _BYTES
_STRIDE: Final = -(-COUNTERS // _CACHE_LINE) * _CACHE_LINE
"""Numbers from slot to slot: workers on different processors share no cache line."""
Totals = Mapping[tuple[Kind, Outcome], tuple[int, int]]
"""Requests and bytes, for each kind and outcome."""


class Counters:
    """Slots of numbers, in an anonymous file.

    Attributes:
        slots: how many.
        descriptor: of the file, for workers that are not forked.
    """

    def __init__(self, descriptor: int) -> None:
        """Those of an inherited descriptor, which is taken over; `new_counters` makes some."""
        size = os.fstat(descriptor).st_size
        self.descriptor = descriptor
        self.slots = size // (_STRIDE * _BYTES)
        self._numbers = memoryview(mmap.mmap(descriptor, size)).cast("Q")

    def slot(self, number: int) -> memoryview:
        """The numbers of one worker, for its `Ledger`; nobody else may write them.

        Raises:
            IndexError: there are not so many slots.
        """
        if not 0 <= number < self.slots:
            raise IndexError(f"slot {number} of {self.slots}")
        return self._numbers[number * _STRIDE : number * _STRIDE + COUNTERS]

    def totals(self) -> Totals:
        """Sums over all workers, those included that are no more."""
        sums = [sum(self._numbers[at::_STRIDE]) for at in range(COUNTERS)]
        places = {
            (kind, outcome): position(kind, outcome) for kind in KINDS for outcome in OUTCOMES
        }
        return {pair: (sums[at], sums[at + 1]) for pair, at in places.items()}

    def close(self) -> None:
        """Close the file; its memory stays as long as anybody has a slot."""
        os.close(self.descriptor)


def new_counters(slots: int) -> Counters:
    """Make as many slots, all zero, that last as long as any process has them."""
    descriptor = os.memfd_create("cvmfs-mirror counters", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, slots * _STRIDE * _BYTES)
    # a file that got shorter would kill everybody who reads what is gone
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
    return Counters(descriptor)
