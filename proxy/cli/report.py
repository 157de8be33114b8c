"""What a proxy did, in a line."""

from __future__ import annotations

from typing import Final

from mirror.cli.output import count_text
from mirror.serve.content import Outcome
from mirror.serve.counters import Totals

HITS: Final = frozenset(
    {Outcome.HIT_MEMORY, Outcome.HIT_DISK, Outcome.COALESCED, Outcome.REVALIDATED, Outcome.STALE}
)
"""What cost the mirror no bytes."""


def report(totals: Totals) -> str:
    """Requests and the hit rate."""
    requests = sum(count for count, _ in totals.values())
    answered = sum(
        count for (_, outcome), (count, _) in totals.items() if outcome is not Outcome.ERROR
    )
    hits = sum(count for (_, outcome), (count, _) in totals.items() if outcome in HITS)
    rate = f", hit rate {100 * hits / answered:.1f} %" if answered else ""
    return f"{count_text(requests, 'request')}{rate}"
