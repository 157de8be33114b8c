"""What cvmfs-servermon finds out about a Stratum 1, for the probes that ask it (A.8). Pure.

    test        warning                     critical
    updated     8 h without a snapshot      24 h; nine times as much for a first one
    gc          10 days since the last      20 days
    whitelist   expires within 48 h         expired
    check       the last one failed
    geo         wrong order, or a file of   no answer
                places older than 30 days

A test that does not apply to a repository says nothing: gc where none ever ran, check likewise.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from urllib.parse import parse_qs

from mirror.errors import FormatError
from mirror.replication.state import parse_date

TESTS: Final = ("updated", "gc", "geo", "whitelist", "check")
_OK_TEST: Final = "ok"
_ALL_TESTS: Final = "all"
_LOCAL: Final = "local"
_FIRST_SNAPSHOT: Final = 9
_GEODB_DAYS: Final = 30
_RIGHT_ORDER: Final = "2,1,3"


class BadRequest(Exception):
    """What servermon answers with 400; the text is its own."""


class Level(StrEnum):
    """How bad; the worst first."""

    CRITICAL = "CRITICAL"
    WARNING = "WARNING"
    OK = "OK"


_BY_GRAVITY: Final = tuple(Level)


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked.

    Attributes:
        test: one of `TESTS`, ``ok``, or ``all``.
        format: ``status``, ``list`` or ``details``; servermon takes any other word for ``list``.
    """

    test: str
    format: str = "list"

    def is_about(self, test: str) -> bool:
        """Whether this test is to be made."""
        return self.test in (test, _ALL_TESTS)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is too late.

    Attributes:
        updated: hours; warning, critical.
        gc: days.
        whitelist: hours before its expiry.
        excluded: repositories that are not looked at.
        disabled: tests that ``all`` leaves out.
    """

    updated: tuple[float, float] = (8, 24)
    gc: tuple[int, int] = (10, 20)
    whitelist: int = 48
    excluded: frozenset[str] = frozenset()
    disabled: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one replica.

    Attributes:
        name: in its URL.
        status: ``.cvmfs_status.json``; empty if there is none.
        last_snapshot: ``.cvmfs_last_snapshot``, where the status does not tell.
        is_snapshotting: ``.cvmfs_is_snapshotting``; None if there is none.
        whitelist_expires: None if there is none.
        error: why the files could not be read; empty if they could.
    """

    name: str
    status: Mapping[str, object] = field(default_factory=dict)
    last_snapshot: str | None = None
    is_snapshotting: str | None = None
    whitelist_expires: datetime | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """Of one test of one repository."""

    test: str
    name: str
    level: Level
    message: str = ""


@dataclass(frozen=True, slots=True)
class GeoFacts:
    """What the geo API answered to the question of the test.

    Attributes:
        reply: its order of the three servers; None if it failed.
        error: why it did.
        updated: of the file of places; None if that is not known.
        is_offered: there is such a thing here. Otherwise ``all`` is silent about it, since what is
            not offered is not broken; who asks for this test alone is told.
    """

    reply: str | None
    error: str = ""
    updated: datetime | None = None
    is_offered: bool = True


NO_GEO: Final = GeoFacts(None, "the geo API is not served here", is_offered=False)


def parse_question(rest: str) -> Question:
    """The path behind ``/cvmfsmon/api/``: ``v1.0/all&format=status``; the ``&`` is no mistake.

    Raises:
        BadRequest: as servermon would.
    """
    version, slash, asked = rest.partition("/")
    if not slash or not version.startswith("v"):
        raise BadRequest(f"malformed api URL: /{rest}")
    test, _, parameters = asked.partition("&")
    given = parse_qs(parameters, max_num_fields=16)
    server = given.get("server", [_LOCAL])[0]
    if server != _LOCAL:
        raise BadRequest(f"unrecognized server alias {server}")
    if test not in (*TESTS, _OK_TEST, _ALL_TESTS):
        raise BadRequest(f"unrecognized montests {test}")
    return Question(test, given.get("format", ["list"])[-1])


def examine(
    question: Question,
    replicas: Iterable[Facts],
    geo: GeoFacts,
    now: datetime,
    bounds: Bounds | None = None,
) -> list[Result]:
    """Make the tests, in servermon's order: geo by the first replica, then each replica."""
    bounds = bounds or Bounds()
    tests = [
        test
        for test in ("geo", "check", "updated", "gc", "whitelist")
        if question.test == test or (question.test == _ALL_TESTS and test not in bounds.disabled)
    ]
    all_replicas = list(replicas)
    is_geo_due = "geo" in tests and (geo.is_offered or question.test == "geo")
    results = list(_geo(all_replicas, geo, now)) if is_geo_due else []
    for facts in all_replicas:
        if facts.name in bounds.excluded:
            continue
        if question.test == _OK_TEST:
            results.append(Result(_OK_TEST, facts.name, Level.OK))
        results += [result for test in tests for result in _test(test, facts, now, bounds)]
    return results


def render(question: Question, results: Sequence[Result]) -> str:
    """In the format that is asked for."""
    if question.format == "status":
        return f"{_worst(result.level for result in results)}\n"
    if question.format == "details":
        return _details(results)
    levels: dict[str, Level] = {}
    for result in results:
        levels[result.name] = _worst([levels.get(result.name, Level.OK), result.level])
    names = {
        level: sorted(name for name, its in levels.items() if its is level) for level in _BY_GRAVITY
    }
    return "".join(f"{level}:{','.join(names[level])}\n" for level in _BY_GRAVITY if names[level])


# --- the tests ------------------------------------------------------------------------------------


def _test(test: str, facts: Facts, now: datetime, bounds: Bounds) -> Iterator[Result]:
    match test:
        case "check" | "updated" | "gc" if facts.error:
            yield Result(test, facts.name, Level.CRITICAL, f"error: {facts.error}")
        case "check":
            yield from _check(facts)
        case "updated":
            yield _updated(facts, now, bounds)
        case "gc":
            yield from _gc(facts, now, bounds)
        case "whitelist":
            yield from _whitelist(facts, now, bounds)


def _check(facts: Facts) -> Iterator[Result]:
    status = facts.status.get("check_status", "")
    if status == "failed":
        yield Result("check", facts.name, Level.WARNING, "cvmfs_server check failure")
    elif status:
        yield Result("check", facts.name, Level.OK)


def _updated(facts: Facts, now: datetime, bounds: Bounds) -> Result:
    text, what = facts.status.get("last_snapshot", facts.last_snapshot), "last successful snapshot"
    factor, where = 1, "last_snapshot"
    if text is None:
        if facts.is_snapshotting is None:
            message = "initial snapshot not in progress"
            return Result("updated", facts.name, Level.WARNING, message)
        text, what = facts.is_snapshotting, "initial snapshot started"
        factor, where = _FIRST_SNAPSHOT, ".cvmfs_is_snapshotting"
    try:
        age = now - parse_date(str(text))
    except FormatError as error:
        message = f"error parsing {where} date: {error}"
        return Result("updated", facts.name, Level.CRITICAL, message)
    hours = int(age / timedelta(hours=1))
    level = _level(hours, bounds.updated[0] * factor, bounds.updated[1] * factor)
    return Result("updated", facts.name, level, _unless_ok(level, f"{what} {hours} hours ago"))


def _gc(facts: Facts, now: datetime, bounds: Bounds) -> Iterator[Result]:
    text = facts.status.get("last_gc")
    if text is None:
        return
    try:
        days = (now - parse_date(str(text))).days
    except FormatError as error:
        yield Result("gc", facts.name, Level.CRITICAL, f"error parsing date: {error}")
        return
    level = _level(days, *bounds.gc)
    yield Result("gc", facts.name, level, _unless_ok(level, f"last successful gc {days} days ago"))


def _whitelist(facts: Facts, now: datetime, bounds: Bounds) -> Iterator[Result]:
    if facts.whitelist_expires is None:
        return
    left = facts.whitelist_expires - now
    if left < timedelta(0):
        yield Result("whitelist", facts.name, Level.CRITICAL, "whitelist is expired")
    elif left < timedelta(hours=bounds.whitelist):
        message = f"whitelist expiration time is less than {bounds.whitelist} hours"
        yield Result("whitelist", facts.name, Level.WARNING, message)
    else:
        yield Result("whitelist", facts.name, Level.OK)


def _geo(replicas: Sequence[Facts], geo: GeoFacts, now: datetime) -> Iterator[Result]:
    if not replicas:
        return
    name, message = replicas[0].name, ""
    if geo.reply is None:
        yield Result("geo", name, Level.CRITICAL, geo.error)
        return
    days = (now - geo.updated).days if geo.updated is not None else 0
    if days > _GEODB_DAYS:
        message = f"last geodb update {days} days ago"
    is_well = geo.reply.strip() == _RIGHT_ORDER and not message
    yield Result("geo", name, Level.OK if is_well else Level.WARNING, message)


def _level(age: float, warning: float, critical: float) -> Level:
    if age < warning:
        return Level.OK
    return Level.WARNING if age < critical else Level.CRITICAL


def _unless_ok(level: Level, message: str) -> str:
    return "" if level is Level.OK else message


def _worst(levels: Iterable[Level]) -> Level:
    return min(levels, key=_BY_GRAVITY.index, default=Level.OK)


def _details(results: Sequence[Result]) -> str:
    """Level → test → repositories with messages; always JSON, whatever stands in a message."""
    details: dict[str, dict[str, list[dict[str, str]]]] = {}
    for result in results:
        tests = details.setdefault(result.level.value, {})
        tests.setdefault(result.test, []).append({"msg": result.message, "repo": result.name})
    return json.dumps(details, indent=1, sort_keys=True) + "\n"
