"""Which of several manifests to believe, all of them validly signed: the newest.

A mirror that lags behind is no attack, so older ones only lose. But one revision number with two
root catalogs is an alarm, whoever has the other one and however old it is: nobody but the holder of
a publisher's key can have made it. A step back is one if nobody has anything newer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import combinations

from mirror.cvmfs.manifest import Manifest
from mirror.errors import Equivocation
from mirror.trust.rollback import require_progress
from mirror.trust.trusted_ensemble import Ensemble


@dataclass(frozen=True, slots=True)
class Offer:
    """What one source has.

    Attributes:
        source: its URL.
        ensemble: believed, but for its place in time.
    """

    source: str
    ensemble: Ensemble

    @property
    def manifest(self) -> Manifest:
        """Its manifest."""
        return self.ensemble.manifest

    @property
    def age(self) -> tuple[int, int]:
        """Grows with what the publisher does: revision, then signature."""
        return self.manifest.revision, self.manifest.published_at


def newest(offers: Sequence[Offer], served: Manifest | None) -> Offer:
    """The newest of at least one; of equal ones that with the longest-lived whitelist, the first.

    Raises:
        Equivocation: two of them, or one and what we serve, contradict each other.
        Rollback: even the newest is older than what we serve.
    """
    for one, other in combinations(offers, 2):
        _require_agreement(one, other)
    for offer in offers:
        if served is not None and _is_contradiction(served, offer.manifest):
            require_progress(served, offer.manifest)

    def merit(offer: Offer) -> tuple[tuple[int, int], datetime]:
        return offer.age, offer.ensemble.whitelist.expires_at

    best = max(offers, key=merit)  # of equals the first
    require_progress(served, best.manifest)
    return best


def _is_contradiction(one: Manifest, other: Manifest) -> bool:
    return one.revision == other.revision and one.root_catalog != other.root_catalog


def _require_agreement(one: Offer, other: Offer) -> None:
    here, there = one.manifest, other.manifest
    if _is_contradiction(here, there):
        raise Equivocation(
            f"revision {here.revision} was signed for two root catalogs: {here.root_catalog} at "
            f"{one.source}, {there.root_catalog} at {other.source}; find out who has the "
            "publisher's key; or, if the publisher went back on purpose, leave out the mirrors "
            "that did not follow"
        )
