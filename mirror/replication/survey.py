"""Which revision to bring home: all sources are asked, and the newest valid manifest counts.

With one source this is what it always was: it may be replicated, its ensemble is believed, or the
run ends. With several, each is asked alone and once, all at the same time, and judged by the same
rules; whoever has nothing valid, or something older, is passed over with an event. Only if that
leaves nothing, or Stratum 0 is silent and nobody has news, those that failed are asked patiently.

A mirror needs nobody's permission to be read, Stratum 0 does: it is asked for its sentinel whenever
it is there at all. See `mirror.trust.newest` and docs/decisions/0007 for why.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from mirror.cvmfs.manifest import Manifest
from mirror.errors import FormatError, MirrorError, Refused, Rollback, TrustError, UpstreamError
from mirror.events import Emit, SourcePassedOver
from mirror.replication.meanwhile import meanwhile
from mirror.replication.origin import Origin
from mirror.replication.replica import Replica
from mirror.trust.newest import Offer, newest
from mirror.trust.trusted_ensemble import Ensemble
from mirror.upstream.base import Upstream
from mirror.upstream.sources import Sources

_STRATUM0 = 0


@dataclass(frozen=True, slots=True)
class Found:
    """The outcome.

    Attributes:
        origin: whose root files belong together.
        ensemble: manifest, certificate and whitelist from there.
    """

    origin: Origin
    ensemble: Ensemble


@dataclass(frozen=True, slots=True)
class _Finding:
    """What one source said.

    Attributes:
        origin: the source.
        source: its URL.
        offer: what it has; None if that is nothing valid.
        error: why not.
        is_forbidden: it may not be replicated at all.
    """

    origin: Origin
    source: str
    offer: Offer | None = None
    error: MirrorError | None = None
    is_forbidden: bool = False


class Survey:
    """Asks the sources of one replica; use it once."""

    def __init__(self, replica: Replica, sources: Sources, now: datetime, emit: Emit) -> None:
        """Prepare; ``now`` is what whitelists are judged by, ``emit`` hears who is passed over."""
        self._replica = replica
        self._sources = sources
        self._now = now
        self._emit = emit

    async def run(self, served: Manifest | None, *, accepts_rollback: bool = False) -> Found:
        """The newest ensemble that may be believed.

        Args:
            served: what must not be fallen behind; None for nothing.
            accepts_rollback: the publisher went back on purpose. Mirrors may not know yet, so
                Stratum 0 alone is asked.

        Raises:
            UpstreamError, TrustError, FormatError: why there is none; of every source.
            Rollback, Equivocation: what is there contradicts what was published before.
        """
        patiently = self._sources.patiently
        if accepts_rollback or len(patiently) == 1:
            origin = self._origin(patiently[_STRATUM0])
            not_before = None if accepts_rollback else served
            accepting = origin.accept_ensemble(self._replica.anchor, self._now, not_before)
            async with meanwhile(accepting) as ensemble:
                await origin.require_replica_permission()  # this counts first
                return Found(origin, await ensemble)
        findings = await self._ask(dict(enumerate(self._sources.once)))
        again = _worth_asking_again(findings, served)
        if again:
            findings |= await self._ask({index: patiently[index] for index in again})
        return self._judge([findings[index] for index in sorted(findings)], served)

    # --- asking -----------------------------------------------------------------------------------

    async def _ask(self, upstreams: dict[int, Upstream]) -> dict[int, _Finding]:
        async with asyncio.TaskGroup() as group:
            tasks = {
                index: group.create_task(self._visit(upstream, is_stratum0=index == _STRATUM0))
                for index, upstream in upstreams.items()
            }
        findings = {index: task.result() for index, task in tasks.items()}
        for finding in findings.values():
            if finding.is_forbidden and finding.error is not None:
                raise finding.error
        return findings

    async def _visit(self, upstream: Upstream, *, is_stratum0: bool) -> _Finding:
        origin, source = self._origin(upstream), upstream.source
        permitting = origin.require_replica_permission() if is_stratum0 else asyncio.sleep(0)
        async with meanwhile(permitting) as permission:
            try:
                ensemble = await origin.accept_ensemble(self._replica.anchor, self._now, None)
            except (UpstreamError, TrustError, FormatError) as error:
                return _Finding(origin, source, error=error)
            try:
                await permission
            except UpstreamError as error:
                is_forbidden = isinstance(error, Refused)
                return _Finding(origin, source, error=error, is_forbidden=is_forbidden)
            return _Finding(origin, source, Offer(source, ensemble))

    def _origin(self, upstream: Upstream) -> Origin:
        return Origin(upstream, self._replica.store, self._replica.limits)

    # --- judging ----------------------------------------------------------------------------------

    def _judge(self, findings: Sequence[_Finding], served: Manifest | None) -> Found:
        offers = [finding.offer for finding in findings if finding.offer is not None]
        if not offers:
            raise _sum_of(findings)
        try:
            best = newest(offers, served)
        except Rollback as error:
            if findings[_STRATUM0].error is None:
                raise
            # Mirrors lag behind, which is no alarm; it is Stratum 0 that is missing.
            raise _sum_of(findings, error) from error
        for finding in findings:
            self._pass_over(finding, best)
        chosen = next(finding for finding in findings if finding.offer is best)
        return Found(chosen.origin, best.ensemble)

    def _pass_over(self, finding: _Finding, best: Offer) -> None:
        offer, reason = finding.offer, str(finding.error)
        if offer is not None:
            if offer.age == best.age:
                return
            here, there = offer.manifest, best.manifest
            reason = (
                f"revision {here.revision} ({here.published_text}) is older than "
                f"revision {there.revision} ({there.published_text}) at {best.source}"
            )
        is_older = offer is not None
        self._emit(SourcePassedOver(self._replica.fqrn, finding.source, reason, is_older=is_older))


def _worth_asking_again(findings: dict[int, _Finding], served: Manifest | None) -> list[int]:
    """Those that did not deliver, if what the others have does not do."""
    ages = [finding.offer.age for finding in findings.values() if finding.offer is not None]
    served_age = (served.revision, served.published_at) if served is not None else (-1, -1)
    if findings[_STRATUM0].offer is not None or any(age > served_age for age in ages):
        return []
    return [i for i, finding in findings.items() if isinstance(finding.error, UpstreamError)]


def _sum_of(findings: Sequence[_Finding], otherwise: MirrorError | None = None) -> MirrorError:
    """One error for all; a matter of trust before one of the network, Stratum 0's before others'.

    Args:
        findings: of all sources.
        otherwise: what speaks against those that have something valid.
    """
    errors = [finding.error for finding in findings if finding.error is not None]
    kinds = (TrustError, FormatError, UpstreamError)
    gravest = next(error for kind in kinds for error in errors if isinstance(error, kind))
    reasons = "; ".join(f"{finding.source}: {finding.error or otherwise}" for finding in findings)
    return type(gravest)(f"no source has a manifest to go by: {reasons}")
