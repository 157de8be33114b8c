"""Situations and alarms as a document; the document itself is `status_model`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from mirror import __version__
from mirror.daemon.advice import what_to_do
from mirror.daemon.alarms import Alarm, AlarmBoard
from mirror.daemon.situation import Flip, Revision, Run, Situation, SourceState
from mirror.daemon.status_model import (
    AlarmStatus,
    DaemonStatus,
    ErrorStatus,
    FlipStatus,
    RepositoryStatus,
    RevisionStatus,
    RunStatus,
    SourceStatus,
    Status,
)


def _none() -> int:
    return 0


@dataclass(frozen=True, slots=True)
class Reporter:
    """Tells how things are.

    Attributes:
        situations: of all replicas.
        board: the alarms; whoever keeps it updates it.
        started: when the daemon did.
        workers: how many processes answer clients now.
        waiting: how many snapshots wait for their turn.
    """

    situations: Callable[[], Iterable[Situation]]
    board: AlarmBoard
    started: datetime
    workers: Callable[[], int] = _none
    waiting: Callable[[], int] = _none

    def status(self, now: datetime) -> Status:
        """All of it."""
        daemon = DaemonStatus(
            version=__version__,
            started=self.started,
            uptime_s=(now - self.started).total_seconds(),
            workers=self.workers(),
            waiting=self.waiting(),
        )
        situations = sorted(self.situations(), key=lambda each: each.fqrn)
        repositories = [repository(each, self.board.of(each.fqrn), now) for each in situations]
        return Status(now=now, daemon=daemon, repositories=repositories)


def repository(situation: Situation, alarms: Iterable[Alarm], now: datetime) -> RepositoryStatus:
    """One replica."""
    run = situation.run
    return RepositoryStatus(
        name=situation.fqrn.name,
        served=_revision(situation.served),
        upstream=_revision(situation.upstream),
        lag_s=situation.lag_s(now.timestamp()),
        phase=situation.phase,
        run=_run(run, now) if run is not None else None,
        flips=[_flip(flip) for flip in reversed(situation.flips)],
        last_error=_error(situation),
        withheld=situation.withheld,
        whitelist_expires=situation.whitelist_expires,
        last_look=situation.last_look,
        last_success=situation.last_success,
        next_look=situation.next_look,
        sources=_sources(situation),
        alarms=[_alarm(alarm) for alarm in alarms],
    )


def _revision(revision: Revision | None) -> RevisionStatus | None:
    if revision is None:
        return None
    return RevisionStatus(
        number=revision.number,
        published=_time(revision.published_at),
        root=revision.root,
        certificate=revision.certificate,
    )


def _time(unix: int) -> datetime | None:
    return datetime.fromtimestamp(unix, UTC) if unix else None


def _run(run: Run, now: datetime) -> RunStatus:
    progress = (
        min(1.0, run.counts.object_bytes / run.counts.wanted_bytes)
        if run.counts.wanted_bytes
        else None
    )
    took_s = (now - run.began).total_seconds()
    return RunStatus(
        began=run.began,
        is_initial=run.is_initial,
        revision=run.revision,
        wanted_objects=run.counts.wanted,
        wanted_bytes=run.counts.wanted_bytes,
        objects=run.counts.objects,
        object_bytes=run.counts.object_bytes,
        fetched_bytes=run.counts.fetched_bytes,
        catalogs=run.counts.catalogs,
        present=run.counts.present,
        failed=run.counts.failed,
        progress=progress,
        eta_s=took_s * (1 - progress) / progress if progress else None,
    )


def _flip(flip: Flip) -> FlipStatus:
    return FlipStatus(
        revision=flip.revision.number,
        published=_time(flip.revision.published_at),
        at=flip.at,
        seconds=flip.seconds,
        objects=flip.objects,
        stored_bytes=flip.stored_bytes,
    )


def _error(situation: Situation) -> ErrorStatus | None:
    trouble = situation.trouble
    if trouble is None:
        return None
    return ErrorStatus(
        kind=trouble.kind,
        sentence=str(trouble.error),
        what_to_do=what_to_do(trouble.error),
        at=trouble.at,
        failures=situation.failures,
    )


def _sources(situation: Situation) -> list[SourceStatus]:
    known = dict(situation.sources)
    if situation.stratum0:
        known = {situation.stratum0: SourceState(situation.stratum0), **known}
    return [_source(each, is_stratum0=each.url == situation.stratum0) for each in known.values()]


def _source(source: SourceState, *, is_stratum0: bool) -> SourceStatus:
    late = "behind" if source.is_behind else "good"
    return SourceStatus(
        url=source.url,
        is_stratum0=is_stratum0,
        state="suspended" if source.is_suspended else late,
        problem=source.problem,
        lies=source.lies,
        failures=source.failures,
    )


def _alarm(alarm: Alarm) -> AlarmStatus:
    return AlarmStatus(
        name=alarm.name,
        since=alarm.since,
        sentence=alarm.sentence,
        what_to_do=alarm.what_to_do,
    )
