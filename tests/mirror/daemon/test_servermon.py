"""Probes that ask cvmfs-servermon read our answers: texts, levels and limits are its own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.cvmfs.fqrn import Fqrn
from mirror.cvmfs.paths import IS_SNAPSHOTTING, STATUS
from mirror.daemon.servermon import (
    NO_GEO,
    BadRequest,
    Bounds,
    Facts,
    GeoFacts,
    Level,
    Question,
    examine,
    parse_question,
    render,
)
from mirror.errors import StoreUnavailable
from mirror.replication.state import date_text, tell_begun, tell_status, tell_succeeded
from mirror.store.memory import MemoryStore
from tests.support.api import Client, Daemon, ask
from tests.support.clock import NOW
from tests.support.loops import run
from tests.support.situations import FQRN, situation

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
RIGHT = GeoFacts("2,1,3\n")
PREFIX = "/cvmfsmon/api/v1.0"


def facts(name: str = "r.example.org", **ages: timedelta) -> Facts:
    """Dates so long ago; ``whitelist`` so far ahead."""
    left = ages.pop("whitelist", 20 * DAY)
    snapshotting = ages.pop("is_snapshotting", None)
    return Facts(
        name,
        {key: date_text(NOW - age) for key, age in ages.items()},
        None,
        date_text(NOW - snapshotting) if snapshotting is not None else None,
        NOW + left,
    )


def outcome(test: str, of: Facts, geo: GeoFacts = RIGHT) -> list[tuple[Level, str]]:
    """Of one test of one replica."""
    return [(each.level, each.message) for each in examine(Question(test), [of], geo, NOW)]


# --- questions ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rest", "question"),
    [
        ("v1.0/all", Question("all", "list")),
        ("v1.0/all&format=status", Question("all", "status")),
        ("v1.0/ok&format=list&server=local", Question("ok", "list")),
        ("v1.0/gc&server=local&format=details", Question("gc", "details")),
        ("v1/updated&format=list&format=status", Question("updated", "status")),
        ("v2.0/geo&", Question("geo", "list")),
        ("v1.0/check&nonsense", Question("check", "list")),
    ],
)
def test_questions(rest: str, question: Question) -> None:
    """The ampersand where others have a question mark; any version."""
    assert parse_question(rest) == question


@pytest.mark.parametrize(
    ("rest", "words"),
    [
        ("", "malformed api URL: /"),
        ("v1.0", "malformed api URL"),
        ("all", "malformed api URL"),
        ("1.0/all", "malformed api URL"),
        ("v1.0/", "unrecognized montests "),
        ("v1.0/nothing", "unrecognized montests nothing"),
        ("v1.0/all&server=other", "unrecognized server alias other"),
    ],
)
def test_no_question(rest: str, words: str) -> None:
    """In servermon's words."""
    with pytest.raises(BadRequest, match=words):
        parse_question(rest)


@given(st.text())
def test_any_question(rest: str) -> None:
    """Is one, or none."""
    with suppress(BadRequest, ValueError):
        parse_question(rest)


# --- tests and their limits -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age", "level"),
    [
        (8 * HOUR - timedelta(seconds=1), Level.OK),
        (8 * HOUR, Level.WARNING),
        (24 * HOUR - timedelta(seconds=1), Level.WARNING),
        (24 * HOUR, Level.CRITICAL),
    ],
)
def test_updated(age: timedelta, level: Level) -> None:
    """8 and 24 hours; whole ones are told."""
    hours = int(age / HOUR)
    message = "" if level is Level.OK else f"last successful snapshot {hours} hours ago"
    assert outcome("updated", facts(last_snapshot=age)) == [(level, message)]


@pytest.mark.parametrize(
    ("age", "level"),
    [(71 * HOUR, Level.OK), (72 * HOUR, Level.WARNING), (216 * HOUR, Level.CRITICAL)],
)
def test_first_snapshot(age: timedelta, level: Level) -> None:
    """May take nine times as long."""
    hours = int(age / HOUR)
    message = "" if level is Level.OK else f"initial snapshot started {hours} hours ago"
    assert outcome("updated", facts(is_snapshotting=age)) == [(level, message)]


def test_never_begun() -> None:
    """Is told."""
    assert outcome("updated", facts()) == [(Level.WARNING, "initial snapshot not in progress")]


def test_last_snapshot_of_old() -> None:
    """Without a status file the older one counts."""
    old = Facts("r", last_snapshot=date_text(NOW - 9 * HOUR))
    assert outcome("updated", old) == [(Level.WARNING, "last successful snapshot 9 hours ago")]


@pytest.mark.parametrize(
    ("days", "level"), [(9, Level.OK), (10, Level.WARNING), (19, Level.WARNING), (20, "CRITICAL")]
)
def test_gc(days: int, level: str) -> None:
    """10 and 20 days."""
    message = "" if level == Level.OK else f"last successful gc {days} days ago"
    assert outcome("gc", facts(last_gc=days * DAY + HOUR)) == [(Level(level), message)]


@pytest.mark.parametrize(
    ("left", "expected"),
    [
        (49 * HOUR, (Level.OK, "")),
        (47 * HOUR, (Level.WARNING, "whitelist expiration time is less than 48 hours")),
        (-HOUR, (Level.CRITICAL, "whitelist is expired")),
    ],
)
def test_whitelist(left: timedelta, expected: tuple[Level, str]) -> None:
    """48 hours."""
    assert outcome("whitelist", facts(whitelist=left)) == [expected]


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({}, []),
        ({"check_status": ""}, []),
        ({"check_status": "succeeded"}, [(Level.OK, "")]),
        ({"check_status": "failed"}, [(Level.WARNING, "cvmfs_server check failure")]),
    ],
)
def test_check(status: Mapping[str, object], expected: list[tuple[Level, str]]) -> None:
    """As the last one ended."""
    assert outcome("check", Facts("r", status)) == expected


@pytest.mark.parametrize("test", ["gc", "check", "whitelist"])
def test_what_does_not_apply(test: str) -> None:
    """Is not spoken of."""
    assert outcome(test, Facts("r")) == []


@pytest.mark.parametrize(("test", "key"), [("updated", "last_snapshot"), ("gc", "last_gc")])
@pytest.mark.parametrize("value", ["", "yesterday", 5, None])
def test_dates_that_are_none(test: str, key: str, value: object) -> None:
    """Are critical, where they are there at all."""
    results = outcome(test, Facts("r", {key: value}))
    if value is not None:
        assert [(level, "error parsing" in message) for level, message in results] == [
            (Level.CRITICAL, True)
        ]


@pytest.mark.parametrize("test", ["updated", "gc", "check"])
def test_unreadable(test: str) -> None:
    """A store that cannot be read is critical."""
    assert outcome(test, Facts("r", error="no disk")) == [(Level.CRITICAL, "error: no disk")]


@pytest.mark.parametrize(
    ("geo", "expected"),
    [
        (RIGHT, (Level.OK, "")),
        (GeoFacts("1,2,3\n"), (Level.WARNING, "")),
        (GeoFacts(None, "HTTP Error 400"), (Level.CRITICAL, "HTTP Error 400")),
        (
            GeoFacts("2,1,3", updated=NOW - 31 * DAY),
            (Level.WARNING, "last geodb update 31 days ago"),
        ),
        (GeoFacts("2,1,3", updated=NOW - 30 * DAY), (Level.OK, "")),
        (NO_GEO, (Level.CRITICAL, "the geo API is not served here")),
    ],
)
def test_geo(geo: GeoFacts, expected: tuple[Level, str]) -> None:
    """By the first replica only."""
    results = examine(Question("geo"), [facts("a"), facts("b")], geo, NOW)
    assert [(each.name, each.level, each.message) for each in results] == [("a", *expected)]


def test_no_geo_is_no_fault() -> None:
    """Where everything is asked for."""
    assert "geo" not in {each.test for each in examine(Question("all"), [facts()], NO_GEO, NOW)}
    assert examine(Question("geo"), [], RIGHT, NOW) == []


def test_all() -> None:
    """Everything that applies, but not what is disabled or excluded."""
    replica = facts(last_snapshot=HOUR, last_gc=DAY)
    tests = [each.test for each in examine(Question("all"), [replica], RIGHT, NOW)]
    assert tests == ["geo", "updated", "gc", "whitelist"]
    bounds = Bounds(disabled=frozenset({"gc", "geo"}), excluded=frozenset({"b"}))
    results = examine(Question("all"), [replica, facts("b", last_gc=DAY)], RIGHT, NOW, bounds)
    assert [each.test for each in results] == ["updated", "whitelist"]
    asked = examine(Question("gc"), [replica], RIGHT, NOW, bounds)
    assert [each.test for each in asked] == ["gc"], "whoever asks for it gets it"


# --- formats --------------------------------------------------------------------------------------

SOME = [
    facts("c", last_snapshot=HOUR),
    facts("b", last_snapshot=9 * HOUR),
    facts("d", last_snapshot=HOUR, whitelist=-HOUR),
    facts("a", last_snapshot=HOUR),
]


def text(test: str, format_: str, of: list[Facts]) -> str:
    """An answer."""
    question = Question(test, format_)
    return render(question, examine(question, of, NO_GEO, NOW))


def test_status_format() -> None:
    """One word: the worst."""
    assert text("all", "status", SOME) == "CRITICAL\n"
    assert text("updated", "status", SOME) == "WARNING\n"
    assert text("ok", "status", SOME) == "OK\n"
    assert text("all", "status", []) == "OK\n"


@pytest.mark.parametrize("format_", ["list", "", "anything"])
def test_list_format(format_: str) -> None:
    """A line for each level that there is, the worst first, names in order."""
    assert text("all", format_, SOME) == "CRITICAL:d\nWARNING:b\nOK:a,c\n"
    assert text("ok", format_, SOME) == "OK:a,b,c,d\n"
    assert text("all", format_, []) == ""


def test_details_format() -> None:
    """Level, test, then a message for each replica."""
    assert json.loads(text("updated", "details", SOME)) == {
        "WARNING": {"updated": [{"msg": "last successful snapshot 9 hours ago", "repo": "b"}]},
        "OK": {"updated": [{"msg": "", "repo": name} for name in ("c", "d", "a")]},
    }


def test_details_are_always_json() -> None:
    """Whatever quotes stand in a message."""
    told = json.loads(text("gc", "details", [Facts("r", error="""it's "full" """)]))
    assert told["CRITICAL"]["gc"][0]["msg"] == """error: it's "full" """


# --- over HTTP ------------------------------------------------------------------------------------


def get(daemon: Daemon, path: str) -> tuple[int, str]:
    """Ask."""
    answers: list[tuple[int, str]] = []

    async def test(client: Client) -> None:
        response = await client.get(path)
        assert response.headers["Content-Type"] == "text/plain"
        answers.append((response.status, await response.text()))

    ask(daemon, test)
    return answers[0]


class Story:
    """A daemon whose replica's files are those that snapshots leave."""

    def __init__(self) -> None:
        self.daemon = Daemon()
        self.store: MemoryStore = self.daemon.stores[FQRN]

    def answer(self, path: str) -> tuple[int, str]:
        """Ask."""
        return get(self.daemon, f"{PREFIX}/{path}")

    def snapshot(self, age: timedelta) -> None:
        """One ended well, so long ago."""
        run(tell_succeeded(self.store, NOW - age))


@pytest.mark.parametrize("separator", ["&", "?"])
def test_over_http(separator: str) -> None:
    """From the files that a snapshot leaves; a well-meant question mark counts, too."""
    story = Story()
    story.snapshot(9 * HOUR)
    assert story.answer(f"all{separator}format=status") == (200, "WARNING\n")
    assert story.answer(f"all{separator}format=list") == (200, "WARNING:test.example.org\n")
    assert story.answer("ok") == (200, "OK:test.example.org\n")


def test_first_snapshot_over_http() -> None:
    """From the file that says that it is under way."""
    story = Story()
    assert story.answer("updated") == (200, "WARNING:test.example.org\n")
    run(tell_begun(story.store, NOW - HOUR))
    assert story.store.root_files[IS_SNAPSHOTTING]
    assert story.answer("updated") == (200, "OK:test.example.org\n")


def test_check_over_http() -> None:
    """Written by whoever checks."""
    story = Story()
    run(tell_status(story.store, check_status="failed"))
    assert STATUS in story.store.root_files
    assert story.answer("check&format=status") == (200, "WARNING\n")


def test_mistakes_over_http() -> None:
    """In servermon's words."""
    assert Story().answer("nothing") == (400, "Bad Request: unrecognized montests nothing\n")
    path = "all&server=elsewhere"
    assert Story().answer(path) == (400, "Bad Request: unrecognized server alias elsewhere\n")
    assert get(Daemon(), "/cvmfsmon/api/all")[0] == 400


def test_read_once_for_many_who_ask() -> None:
    """Anybody may ask, so files are read now and then only."""
    story = Story()

    async def test(client: Client) -> None:
        first = await (await client.get(f"{PREFIX}/updated")).text()
        await tell_succeeded(story.store, NOW)
        assert await (await client.get(f"{PREFIX}/updated")).text() == first
        story.daemon.now += timedelta(seconds=5)
        assert await (await client.get(f"{PREFIX}/updated")).text() == "OK:test.example.org\n"

    ask(story.daemon, test)


def test_geo_over_http() -> None:
    """The geo room is asked, if there is one."""

    async def geo() -> GeoFacts:
        return RIGHT

    daemon = Daemon(geo=geo)
    assert get(daemon, f"{PREFIX}/geo&format=status") == (200, "OK\n")
    assert get(Daemon(), f"{PREFIX}/geo&format=status") == (200, "CRITICAL\n")


def test_several_replicas() -> None:
    """In the order of their names."""
    daemon = Daemon()
    name = Fqrn("a.example.org")
    daemon.situations[name], daemon.stores[name] = situation(name), MemoryStore()
    assert get(daemon, f"{PREFIX}/ok") == (200, "OK:a.example.org,test.example.org\n")


class BrokenStore(MemoryStore):
    """A disk that is gone."""

    async def read_root_file(self, name: str, max_bytes: int) -> bytes | None:
        """Fail."""
        raise StoreUnavailable(f"{name}: no disk")


def test_a_disk_that_is_gone() -> None:
    """Is critical, and the other replicas are told of all the same."""
    daemon = Daemon()
    name = Fqrn("a.example.org")
    daemon.situations[name], daemon.stores[name] = situation(name), BrokenStore()
    run(tell_succeeded(daemon.stores[FQRN], NOW))
    answer = get(daemon, f"{PREFIX}/updated")
    assert answer == (200, "CRITICAL:a.example.org\nOK:test.example.org\n")


def test_a_file_that_is_far_too_long() -> None:
    """Is not read, and no date."""
    story = Story()
    story.store.root_files[IS_SNAPSHOTTING] = b"x" * 100_000
    assert story.answer("updated&format=status") == (200, "CRITICAL\n")
