"""Which of several sources to ask: the good ones mostly, the bad ones rarely, the dead not at all.

What happened goes in with the time it happened at; whom to ask comes out. No clock, no loop, no
random numbers in here, and no upstream: whoever moves bytes can use it, one by one or in bulk:

    index = board.choose(now_s, excluded)           # None: nobody is left
    board.begin(index)                              # and exactly one of these three for each:
    board.record_success(index, now_s, Delivery(latency_s, body_s, received_bytes))
    board.record_failure(index, now_s, Fault.FAILED)
    board.release(index)                            # ended without a verdict: cancelled

**Cost.** A source costs the time that a usual object takes there, times how often one has to ask.
The next request goes where cost times requests under way is lowest, so that the others get a share
that fits them, and one that hangs gets no more. What is known fades: a source nobody asks is
believed a little better every second, until it is asked again.

**Reserve.** One source, Stratum 0, may be the reserve: as long as one of the others is good enough,
in itself or compared to it (`ScoringPolicy.spare_factor` and those behind), it is not asked.

**Suspension** (the circuit breaker, `TrackRecord`). One that fails is not asked for a while, and
then by one request alone; one that lied for a long while. When nobody else is left, those suspended
may be asked all the same: then a doubtful source is better than none.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, NamedTuple

from mirror.upstream.track_record import (
    FIXED_COST_S,
    Delivery,
    Expectation,
    Fault,
    ScoringPolicy,
    Standing,
    TrackRecord,
)

_ENOUGH_TO_KNOW: Final = 8
"""Deliveries after which a source's usual latency is known."""


class Time(NamedTuple):
    """How long a delivery takes: for whoever waits for it, and when those beside it share that."""

    latency_s: float
    share_s: float


class Scoreboard:
    """The records of all sources, and the choice among them; see the module's text."""

    def __init__(
        self, count: int, *, reserve: int | None = None, policy: ScoringPolicy | None = None
    ) -> None:
        """Begin with nothing known, and everybody trusted.

        Args:
            count: how many sources there are; they are numbered from 0.
            reserve: which of them to spare; None for none.
            policy: when to lose patience.
        """
        self._policy = policy or ScoringPolicy()
        self._records = [TrackRecord(self._policy) for _ in range(count)]
        self._reserve = reserve if count > 1 else None

    # --- whom to ask ------------------------------------------------------------------------------

    def choose(
        self, now_s: float, excluded: Collection[int] = (), *, even_suspended: bool = False
    ) -> int | None:
        """The source to ask next; None if there is none.

        Args:
            now_s: the time, of the clock that all records are made by.
            excluded: who was asked already.
            even_suspended: choose among those suspended if nobody else is left.
        """
        expected = self._expectations(now_s)
        pool = self._pool(now_s, excluded, expected)
        if not pool and even_suspended:
            return self._least_suspended(excluded)
        probes = [index for index in pool if self._records[index].until_s is not None]
        if probes:
            return probes[0]

        def queued_s(index: int) -> float:
            return expected[index].cost_s * (self._records[index].under_way + 1)

        return min(pool, key=queued_s, default=None)

    def shares(self, now_s: float) -> tuple[float, ...]:
        """What part of the requests should go where: for handing them out in bulk.

        Adds up to 1; all zero if everybody is suspended.
        """
        expected = self._expectations(now_s)
        pool = self._pool(now_s, (), expected)
        worth = [1.0 / each.cost_s if i in pool else 0.0 for i, each in enumerate(expected)]
        total = sum(worth)
        return tuple(each / total if total else 0.0 for each in worth)

    def costs_s(self, now_s: float) -> tuple[float, ...]:
        """What an object is expected to cost at each source, suspended or not."""
        return tuple(each.cost_s for each in self._expectations(now_s))

    def _pool(
        self, now_s: float, excluded: Collection[int], expected: list[Expectation]
    ) -> list[int]:
        """Who is worth asking: mirrors that are good enough, or else everybody who is there."""
        records, reserve = self._records, self._reserve
        there = [
            index
            for index, record in enumerate(records)
            if index not in excluded and record.is_available(now_s)
        ]
        mirrors = [index for index in there if index != reserve]
        if reserve is None or reserve not in there:
            return mirrors
        if records[reserve].heard_s is None:
            return mirrors or there
        return [
            index
            for index in mirrors
            if self._is_good_enough(expected[index], expected[reserve])
            or records[index].until_s is not None  # due for a probe
        ] or there

    def _is_good_enough(self, mirror: Expectation, reserve: Expectation) -> bool:
        """A mirror that works hard looks slow beside a reserve that rests: hence not only that."""
        policy = self._policy
        if mirror.cost_s <= reserve.cost_s * policy.spare_factor:
            return True
        return mirror.once_s <= policy.spare_s and mirror.hit_ratio > policy.spare_hit_ratio

    def _least_suspended(self, excluded: Collection[int]) -> int | None:
        """Rather one that failed than one that lied; then the one whose pause ends first."""
        records = self._records
        left = [index for index in range(len(records)) if index not in excluded]
        return min(
            left,
            key=lambda index: (records[index].is_distrusted, records[index].until_s or 0.0),
            default=None,
        )

    def _expectations(self, now_s: float) -> list[Expectation]:
        known = [record.known_cost_s() for record in self._records]
        best_s = min((each for each in known if each is not None), default=FIXED_COST_S)
        return [record.expectation(best_s, now_s) for record in self._records]

    # --- what came of it --------------------------------------------------------------------------

    def begin(self, index: int) -> None:
        """A request more is under way there; at one that is suspended it is the probe."""
        record = self._records[index]
        record.under_way += 1
        record.is_probed = record.until_s is not None

    def record_success(self, index: int, now_s: float, delivery: Delivery) -> bool:
        """It delivered; returns whether that ends its suspension."""
        record = self._records[index]
        record.under_way -= 1
        record.succeed(now_s, delivery)
        return record.reinstate_if_due(now_s)

    def record_failure(
        self, index: int, now_s: float, fault: Fault, asked_s: float | None = None
    ) -> float | None:
        """It did not; returns for how long it is suspended for that, None if it is not.

        Args:
            index: who.
            now_s: when.
            fault: in what way.
            asked_s: for how long it asked to be left alone, if it did.
        """
        record = self._records[index]
        record.under_way -= 1
        return self._blame(record, now_s, fault, asked_s)

    def record_lie(self, index: int, now_s: float) -> float | None:
        """What it delivered, and a success was recorded for, was wrong. Returns as a failure."""
        return self._blame(self._records[index], now_s, Fault.LIED)

    def record_straggler(self, index: int, now_s: float) -> float | None:
        """Another overtook it; the request itself ends with `release`. Returns as a failure."""
        record = self._records[index]
        record.straggle(now_s)
        return record.suspend_if_due(now_s, Fault.FAILED)

    def suspend(self, index: int, now_s: float) -> float:
        """It is known from elsewhere that it does not deliver. Returns as a failure."""
        return self._records[index].suspend(now_s)

    def under_way(self, index: int) -> int:
        """How many requests to it have not ended."""
        return self._records[index].under_way

    def release(self, index: int) -> None:
        """A request ended without a verdict: it was cancelled, or we failed ourselves."""
        record = self._records[index]
        record.under_way -= 1
        record.is_probed = False

    def _blame(
        self, record: TrackRecord, now_s: float, fault: Fault, asked_s: float | None = None
    ) -> float | None:
        record.fail(now_s, fault)
        if fault is Fault.LACKING:
            record.reinstate_if_due(now_s)
            return None
        return record.suspend_if_due(now_s, fault, asked_s)

    # --- what is known ----------------------------------------------------------------------------

    def has_answered(self, index: int) -> bool:
        """Whether it gave one usable answer at all, be it that it lacks something."""
        record = self._records[index]
        return record.requests > record.failures

    def is_rival(self, index: int) -> bool:
        """Whether it could be asked instead of another: it has delivered, or was never tried.

        The reserve has to have shown what it can do, since it is rarely asked.
        """
        record = self._records[index]
        is_untried = index != self._reserve and not (record.requests or record.under_way)
        return record.until_s is None and (record.deliveries > 0 or is_untried)

    def time(self, index: int) -> Time:
        """How long a delivery takes usually; nothing, while that is not known."""
        record = self._records[index]
        return Time(record.latency_s or 0.0, record.share_s)

    def is_suspended(self, index: int) -> bool:
        """Whether it is asked only to see if it is better now, or if nobody else is left."""
        return self._records[index].until_s is not None

    def patience_s(self, index: int) -> float | None:
        """After how long without an answer it is a straggler; None while too little is known.

        The average and four deviations, as for retransmissions in TCP: rarely wrong, never long.
        """
        record = self._records[index]
        if record.latency_s is None or record.deliveries < _ENOUGH_TO_KNOW:
            return None
        return record.latency_s + 4 * record.deviation_s

    def ranking(self, now_s: float) -> tuple[Standing, ...]:
        """All of them, the best first, those suspended last."""
        expected = self._expectations(now_s)

        def place(index: int) -> tuple[bool, float, int]:
            return self.is_suspended(index), expected[index].cost_s, index

        order = sorted(range(len(expected)), key=place)
        return tuple(self._records[index].standing(index) for index in order)
