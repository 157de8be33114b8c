"""What is known of one source: how fast it is, how often it fails, and whether it is asked.

Failures in a row, or too many in all, suspend a source for a pause; after that one request probes
it, and the pause doubles when that fails, too. Wrong bytes suspend at once, for longer and longer,
and they are never forgotten. No clock and no loop in here; `Scoreboard` chooses by it.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from typing import Final

_SMOOTHING: Final = 0.15
"""How much the latest observation weighs in an average."""
_RATE_MEMORY: Final = 0.95
"""What is left of the observed bytes and seconds when the next ones are added."""
_OBJECT_BYTES: Final = 64 * 1024
"""The usual object: what makes latency and rate comparable."""
FIXED_COST_S: Final = 0.01
"""Added to all: nobody is ten times as good as another because of a millisecond."""
_LEAST_HIT_RATIO: Final = 0.02
_STEADY: Final = 20
"""So many good answers in a row, and its next suspension is a first one."""


class Fault(enum.Enum):
    """In what way a source did not deliver; the value is how many strikes that makes."""

    LACKING = 0.0
    """It answered that it has no such thing: no fault, but asking there is of little use."""
    FAILED = 1.0
    """No usable answer."""
    LIED = 1000.0
    """It delivered other bytes than those that were asked for."""


class Condition(enum.Enum):
    """Whether a source is asked."""

    GOOD = "good"
    SUSPENDED = "suspended"
    ON_PROBATION = "on probation"
    """One request is under way to see whether it is better now."""


@dataclass(frozen=True, slots=True)
class ScoringPolicy:
    """When to lose patience.

    Attributes:
        max_strikes: failures in a row that suspend.
        max_failing_ratio: share of requests failing that suspends,
        min_requests: once there were so many.
        first_pause_s: how long a first suspension lasts; each one that follows a failed probe
            lasts twice as long,
        max_pause_s: up to this.
        lie_pause_s: after wrong bytes; twice as long after each further time.
        max_lie_pause_s: the longest of those.
        spare_factor: the reserve is spared while some other source costs less than so many times
            as much,
        spare_s: or not more than this, which a request may take among many others, and
        spare_hit_ratio: more often than this it delivers.
        half_life_s: after so long unasked, what is known of a source counts half.
    """

    max_strikes: float = 3.0
    max_failing_ratio: float = 0.5
    min_requests: int = 20
    first_pause_s: float = 5.0
    max_pause_s: float = 300.0
    lie_pause_s: float = 60.0
    max_lie_pause_s: float = 3600.0
    spare_factor: float = 4.0
    spare_s: float = 1.0
    spare_hit_ratio: float = 0.5
    half_life_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Delivery:
    """A success, measured.

    Attributes:
        latency_s: from the request to the beginning of the answer.
        body_s: from there to the end; what was spent on writing it down may be left out.
        received_bytes: in that time.
        shared_by: so many requests, this one included, were under way there together. Where it was
            for them to wait for each other, each of them alone would have been so much quicker.
    """

    latency_s: float
    body_s: float
    received_bytes: int
    shared_by: int = 1


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of one source, for people.

    Attributes:
        index: which.
        condition: whether it is asked.
        suspended_until_s: the end of its pause; None if it is good.
        deliveries: objects it delivered,
        delivered_bytes: and their bytes.
        failures: how often it gave no usable answer.
        lies: how often it delivered wrong bytes.
        latency_s: usually; None if nothing came.
        least_latency_s: the shortest one, which no work of our own has lengthened.
        bytes_per_s: of one request, usually; None if nothing came.
        failing_ratio: share of the latest requests that failed.
    """

    index: int
    condition: Condition
    suspended_until_s: float | None
    deliveries: int
    delivered_bytes: int
    failures: int
    lies: int
    latency_s: float | None
    least_latency_s: float
    bytes_per_s: float | None
    failing_ratio: float


@dataclass(frozen=True, slots=True)
class Expectation:
    """What the next request to a source will probably cost.

    Attributes:
        once_s: time for a usual object.
        hit_ratio: how probable it is that it comes.
    """

    once_s: float
    hit_ratio: float

    @property
    def cost_s(self) -> float:
        """Time for one that came."""
        return self.once_s / max(_LEAST_HIT_RATIO, self.hit_ratio)


class TrackRecord:
    """What one source did so far, and what follows from it."""

    def __init__(self, policy: ScoringPolicy) -> None:
        self.under_way = 0
        self.requests = self.deliveries = self.delivered_bytes = self.failures = self.lies = 0
        self.latency_s: float | None = None
        self.deviation_s = 0.0
        self.share_s = 0.0
        self._least_s = math.inf
        self.failing_ratio = self.lacking_ratio = 0.0
        self.strikes = 0.0
        self.heard_s: float | None = None
        self.until_s: float | None = None
        self.is_probed = False
        self.is_distrusted = False
        self._bytes = self._seconds = 0.0
        self._policy = policy
        self._pause_s = policy.first_pause_s
        self._lie_pause_s = 0.0
        self._streak = 0

    # --- what happened ----------------------------------------------------------------------------

    def succeed(self, now_s: float, delivery: Delivery) -> None:
        """It delivered."""
        self._hear(now_s, failed=False, lacked=False)
        self.deliveries += 1
        self.delivered_bytes += delivery.received_bytes
        self._be_pleased()
        self._least_s = min(self._least_s, delivery.latency_s)
        share_s = delivery.latency_s / delivery.shared_by
        if self.latency_s is None:
            self.latency_s, self.deviation_s = delivery.latency_s, delivery.latency_s / 2
            self.share_s = share_s
        else:
            self.share_s += _SMOOTHING * (share_s - self.share_s)
            off_s = delivery.latency_s - self.latency_s
            self.latency_s += _SMOOTHING * off_s
            self.deviation_s += _SMOOTHING * (abs(off_s) - self.deviation_s)
        self._bytes = self._bytes * _RATE_MEMORY + delivery.received_bytes
        self._seconds = self._seconds * _RATE_MEMORY + max(delivery.body_s, 0.0)

    def fail(self, now_s: float, fault: Fault) -> None:
        """It did not."""
        is_lacking = fault is Fault.LACKING
        self._hear(now_s, failed=not is_lacking, lacked=is_lacking)
        if is_lacking:
            self._be_pleased()  # it is alive
            return
        self.failures += 1
        self.lies += fault is Fault.LIED
        self._strike(fault.value)

    def straggle(self, now_s: float) -> None:
        """It did not answer when another would have; whether it would have is not known."""
        self.heard_s = now_s
        self.failing_ratio += _SMOOTHING * (0.5 - self.failing_ratio)
        self._strike(0.5)

    def _hear(self, now_s: float, *, failed: bool, lacked: bool) -> None:
        self.heard_s = now_s
        self.is_probed = False
        self.requests += 1
        self.failing_ratio += _SMOOTHING * (failed - self.failing_ratio)
        self.lacking_ratio += _SMOOTHING * (lacked - self.lacking_ratio)

    def _be_pleased(self) -> None:
        self.strikes = 0.0
        self._streak += 1
        if self._streak >= _STEADY:
            self._pause_s = self._policy.first_pause_s

    def _strike(self, count: float) -> None:
        self.strikes += count
        self._streak = 0

    # --- suspension -------------------------------------------------------------------------------

    def condition(self) -> Condition:
        """Whether it is asked."""
        if self.until_s is None:
            return Condition.GOOD
        return Condition.ON_PROBATION if self.is_probed else Condition.SUSPENDED

    def is_available(self, now_s: float) -> bool:
        """Whether it may be asked now: it is good, or due for a probe that nobody makes yet."""
        return self.until_s is None or (now_s >= self.until_s and not self.is_probed)

    def suspend_if_due(
        self, now_s: float, fault: Fault, asked_s: float | None = None
    ) -> float | None:
        """After a failure: for how long it is suspended for that; None if it is not.

        A server that asked to be left alone (``Retry-After``) is, for as long as is reasonable.
        """
        if fault is Fault.LIED:
            return self._suspend_liar(now_s)
        if asked_s:
            pause_s = min(asked_s, self._policy.max_pause_s)
            self.until_s = max(now_s + pause_s, self.until_s or 0.0)
            return pause_s
        if self.until_s is None:
            return self.suspend(now_s) if self._is_unbearable() else None
        # One that was under way when the suspension began is no news.
        return self.suspend(now_s) if now_s >= self.until_s else None

    def reinstate_if_due(self, now_s: float) -> bool:
        """After an answer: whether that ends a suspension.

        One that lied has to wait for its probe: one right answer among others proves nothing.
        """
        if self.until_s is None or (self.is_distrusted and now_s < self.until_s):
            return False
        self.until_s = None
        self.is_distrusted = False
        self.failing_ratio = 0.0
        return True

    def _is_unbearable(self) -> bool:
        policy = self._policy
        is_failing = self.failing_ratio > policy.max_failing_ratio
        is_known = self.requests >= policy.min_requests
        return self.strikes >= policy.max_strikes or (is_failing and is_known)

    def suspend(self, now_s: float) -> float:
        """For the pause that is next; returns how long that is."""
        pause_s = self._pause_s
        self._pause_s = min(self._policy.max_pause_s, pause_s * 2)
        self.until_s = now_s + pause_s
        return pause_s

    def _suspend_liar(self, now_s: float) -> float | None:
        if self.is_distrusted and now_s < (self.until_s or 0.0):
            return None  # it was under way when the first one was found
        policy = self._policy
        self._lie_pause_s = min(policy.max_lie_pause_s, self._lie_pause_s * 2 or policy.lie_pause_s)
        self.until_s = now_s + self._lie_pause_s
        self.is_distrusted = True
        return self._lie_pause_s

    # --- worth ------------------------------------------------------------------------------------

    @property
    def bytes_per_s(self) -> float | None:
        """Of one request; None if it is not known or next to infinite."""
        return self._bytes / self._seconds if self._bytes and self._seconds > 0 else None

    def known_cost_s(self) -> float | None:
        """What a delivery costs there, in seconds; None if nothing came."""
        if self.latency_s is None:
            return None
        rate = self.bytes_per_s
        return FIXED_COST_S + self.share_s + (_OBJECT_BYTES / rate if rate else 0.0)

    def expectation(self, best_s: float, now_s: float) -> Expectation:
        """What it probably costs now; ``best_s`` is what it may be at best, if it is not known."""
        if self.heard_s is None:
            return Expectation(best_s, 1.0)
        half_lives = max(0.0, now_s - self.heard_s) / self._policy.half_life_s
        remembered = float(0.5**half_lives)
        known_s = max(self.known_cost_s() or 0.0, best_s)
        misses = 1.0 - (1.0 - self.failing_ratio) * (1.0 - self.lacking_ratio)
        return Expectation(best_s + (known_s - best_s) * remembered, 1.0 - misses * remembered)

    def standing(self, index: int) -> Standing:
        """For people."""
        return Standing(
            index=index,
            condition=self.condition(),
            suspended_until_s=self.until_s,
            deliveries=self.deliveries,
            delivered_bytes=self.delivered_bytes,
            failures=self.failures,
            lies=self.lies,
            latency_s=self.latency_s,
            least_latency_s=self._least_s,
            bytes_per_s=self.bytes_per_s,
            failing_ratio=self.failing_ratio,
        )
