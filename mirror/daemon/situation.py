"""What is known of each replica, built from what happens to it.

The keeper tells what it sees, a run tells what it does (`mirror.events`); whoever wants to know
looks here: status, alarms, metrics.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from mirror.counts import Counts
from mirror.cvmfs.fqrn import Fqrn
from mirror.cvmfs.manifest import Manifest
from mirror.errors import MirrorError
from mirror.events import (
    Event,
    ManifestAccepted,
    SnapshotStarted,
    SourceFailed,
    SourceLied,
    SourcePassedOver,
    SourceRecovered,
    SourceSuspended,
)

_FLIPS = 20


class Phase(StrEnum):
    """What a keeper is doing."""

    IDLE = "idle"
    LOOKING = "looking"
    WAITING = "waiting"
    FETCHING = "fetching"


@dataclass(frozen=True, slots=True)
class Revision:
    """One signed state of a repository.

    Attributes:
        number: its revision.
        published_at: when it was signed, Unix time.
        root: its root catalog's hash, as text.
        certificate: its signer's certificate, by hash, as text.
    """

    number: int
    published_at: int
    root: str
    certificate: str

    @classmethod
    def of(cls, manifest: Manifest) -> Revision:
        """The one that a manifest announces."""
        certificate = manifest.certificate
        return cls(
            manifest.revision,
            manifest.published_at,
            str(manifest.root_catalog),
            str(certificate) if certificate is not None else "",
        )


@dataclass(frozen=True, slots=True)
class Flip:
    """A new revision came before clients.

    Attributes:
        revision: which.
        at: when.
        seconds: how long the run took.
        objects: fetched.
        stored_bytes: their bytes.
    """

    revision: Revision
    at: datetime
    seconds: float
    objects: int
    stored_bytes: int


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why the last attempt failed."""

    error: MirrorError
    at: datetime

    @property
    def kind(self) -> str:
        """The error's name, as README lists them."""
        return type(self.error).__name__


@dataclass(slots=True)
class Run:
    """A run that is under way, in numbers; bytes unpacked as catalogs state them."""

    began: datetime
    is_initial: bool = False
    revision: int | None = None
    counts: Counts = field(default_factory=Counts)
    passed_over: dict[str, bool] = field(default_factory=dict)
    """Sources whose manifest does not count, by URL: whether because it is older."""

    def hear(self, event: Event) -> None:
        """Take note of what the run tells."""
        self.counts.add(event)
        match event:
            case SnapshotStarted():
                self.is_initial = event.is_initial
            case ManifestAccepted():
                self.revision = event.revision
            case SourcePassedOver():
                self.passed_over[event.source] = event.is_older


@dataclass(slots=True)
class SourceState:
    """What was last heard of one source.

    Attributes:
        url: which.
        is_suspended: it is not asked for a while.
        is_behind: its manifest is valid, but older than another source's.
        problem: what was wrong with it last; None if nothing is.
        lies: wrong bytes delivered since we started.
        failures: requests that another source had to answer, likewise.
    """

    url: str
    is_suspended: bool = False
    is_behind: bool = False
    problem: str | None = None
    lies: int = 0
    failures: int = 0


@dataclass(slots=True)
class Situation:
    """One replica.

    Attributes:
        fqrn: which.
        served: what clients get; None before the first snapshot.
        upstream: the newest whose signatures hold, of all sources, when a run last asked them.
        behind_since: when the first revision that we do not serve was published, Unix time.
        whitelist_expires: of the whitelist that is served.
        phase: what its keeper is doing.
        run: the run that is under way.
        trouble: why the last attempt failed; None if it did not.
        failures: in a row.
        last_look: when the origin was last asked with success.
        last_success: when a run last ended well.
        next_look: when it will be looked at again.
        flips: the last ones.
        sources: by URL.
        withheld: why its manifest is not given to clients; None if it is.
        stratum0: the URL of its Stratum 0, as far as the repository; empty if it is not told.
        key_changed: when another certificate than before was first served; None since we started.
        damage: what a check found last; None if all was well.
    """

    fqrn: Fqrn
    served: Revision | None = None
    upstream: Revision | None = None
    behind_since: int | None = None
    whitelist_expires: datetime | None = None
    phase: Phase = Phase.IDLE
    run: Run | None = None
    trouble: Trouble | None = None
    failures: int = 0
    last_look: datetime | None = None
    last_success: datetime | None = None
    next_look: datetime | None = None
    flips: deque[Flip] = field(default_factory=lambda: deque(maxlen=_FLIPS))
    sources: dict[str, SourceState] = field(default_factory=dict)
    withheld: str | None = None
    stratum0: str = ""
    key_changed: datetime | None = None
    damage: str | None = None
    _certificate: str = ""

    def know_sources(self, urls: Sequence[str]) -> None:
        """These are configured, Stratum 0 first; nothing is known any more of others."""
        self.stratum0 = urls[0]
        self.sources = {url: state for url, state in self.sources.items() if url in urls}

    def hear(self, event: Event) -> None:
        """Take note of what a run tells."""
        if self.run is not None:
            self.run.hear(event)
        match event:
            case ManifestAccepted():
                self._judge_sources()
                if event.manifest is not None:
                    self.see(Revision.of(event.manifest))
            case SourceSuspended():
                self._source(event.source).is_suspended = True
                self._source(event.source).problem = event.reason
            case SourceRecovered():
                self._source(event.source).is_suspended = False
                self._source(event.source).problem = None
            case SourceLied():
                self._source(event.source).lies += 1
                self._source(event.source).problem = event.reason
            case SourceFailed():
                self._source(event.source).failures += 1
                self._source(event.source).problem = event.reason
            case SourcePassedOver():
                self._source(event.source).problem = event.reason

    def see(self, offered: Revision) -> None:
        """The origin is at this revision."""
        self.upstream = offered
        if self.served is not None and offered.number <= self.served.number:
            self.behind_since = None
        elif self.behind_since is None:
            self.behind_since = offered.published_at

    def flip(self, flip: Flip) -> None:
        """A new revision is served."""
        self.flips.append(flip)
        self.served = flip.revision
        if self.upstream is None or self.upstream.number <= flip.revision.number:
            self.upstream, self.behind_since = flip.revision, None
        else:
            self.behind_since = self.upstream.published_at

    def lag_s(self, now: float) -> float:
        """Seconds that clients are behind the publisher (contract E.3); 0 if they are not."""
        return max(0.0, now - self.behind_since) if self.behind_since is not None else 0.0

    def note_key(self, now: datetime) -> None:
        """Look whether what is served is signed with another certificate than what was before."""
        certificate = self.served.certificate if self.served is not None else ""
        if self._certificate and certificate not in ("", self._certificate):
            self.key_changed = now
        self._certificate = certificate or self._certificate

    def _judge_sources(self) -> None:
        """A survey ended well: now it is known who is behind, and whose manifest counts."""
        passed_over = self.run.passed_over if self.run is not None else {}
        for source in self.sources.values():
            source.is_behind = passed_over.get(source.url, False)
            if source.url not in passed_over and not source.is_suspended:
                source.problem = None

    def _source(self, url: str) -> SourceState:
        return self.sources.setdefault(url, SourceState(url))
