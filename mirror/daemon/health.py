"""Is the service alive, and should it be sent clients?

Alive is whoever answers. Ready is who serves, and has every repository, or is fetching it for the
first time, which takes days and is no reason to send clients of others away.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mirror.daemon.situation import Phase, Situation


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether clients should come.

    Attributes:
        reasons: why not; none if they should.
        coming: repositories that are fetched for the first time.
    """

    reasons: tuple[str, ...]
    coming: tuple[str, ...] = ()

    @property
    def is_ready(self) -> bool:
        """Whether they should."""
        return not self.reasons

    def document(self) -> dict[str, object]:
        """For machines."""
        return {"ready": self.is_ready, "reasons": self.reasons, "first_snapshots": self.coming}


def readiness(situations: Iterable[Situation], *, is_serving: bool) -> Readiness:
    """Look at all replicas."""
    reasons = [] if is_serving else ["no worker answers clients"]
    coming = []
    for situation in situations:
        if situation.served is not None:
            continue
        if situation.phase is not Phase.IDLE and not situation.failures:
            coming.append(situation.fqrn.name)
        else:
            reasons.append(_why(situation))
    return Readiness(tuple(reasons), tuple(coming))


def _why(situation: Situation) -> str:
    trouble = situation.trouble
    because = f": {trouble.error}" if trouble is not None else ""
    return f"{situation.fqrn} was never fetched to its end{because}"
