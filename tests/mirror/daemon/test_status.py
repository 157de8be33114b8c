"""The status document says what is known, and its schema is the one that is published."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

from mirror.daemon.alarms import AlarmBoard
from mirror.daemon.situation import Flip, Run, Situation
from mirror.daemon.status import Reporter, repository
from mirror.daemon.status_model import Status, schema
from mirror.errors import StoreFull
from mirror.events import (
    ManifestAccepted,
    ObjectsStored,
    ObjectsWanted,
    SourceFailed,
    SourceLied,
    SourceSuspended,
)
from tests.support.clock import NOW
from tests.support.situations import FQRN, MIRROR, STRATUM0, failing, revision, situation

SCHEMA = Path(__file__).parents[3] / "docs" / "status.schema.json"


def test_schema_is_up_to_date() -> None:
    """Otherwise write what `schema` gives to docs/status.schema.json."""
    assert SCHEMA.read_text() == schema()


def eventful() -> Situation:
    """A replica where everything is going on."""
    replica = situation()
    replica.flip(Flip(revision(8, age_s=300), NOW - timedelta(minutes=4), 7.5, 12, 3456))
    replica.see(revision(9, age_s=90.0))
    replica.run = Run(NOW - timedelta(seconds=10))
    replica.hear(ManifestAccepted(FQRN, 9, 8))
    replica.hear(ObjectsWanted(FQRN, 10, 1000))
    replica.hear(ObjectsStored(FQRN, 4, 150, 250))
    replica.hear(SourceFailed(FQRN, MIRROR, "data/aa", "slow"))
    replica.hear(SourceSuspended(FQRN, MIRROR, 5.0, "three failures"))
    replica.hear(SourceLied(FQRN, MIRROR, "data/bb", "wrong bytes"))
    failing(replica, StoreFull("no space"))
    return replica


def test_what_is_told() -> None:
    """Every number is that of the situation."""
    told = repository(eventful(), [], NOW)
    assert told.served is not None
    assert told.upstream is not None
    assert (told.served.number, told.upstream.number, told.lag_s) == (8, 9, 90.0)
    assert [(flip.revision, flip.seconds, flip.objects) for flip in told.flips] == [(8, 7.5, 12)]
    assert told.last_error is not None
    assert (told.last_error.kind, told.last_error.failures) == ("StoreFull", 1)
    assert "room" in told.last_error.what_to_do


def test_progress_and_eta() -> None:
    """A quarter in ten seconds: half a minute is left."""
    run = repository(eventful(), [], NOW).run
    assert run is not None
    assert (run.revision, run.progress, run.eta_s) == (9, 0.25, 30.0)
    replica = situation()
    replica.run = Run(NOW)
    run = repository(replica, [], NOW).run
    assert run is not None
    assert (run.progress, run.eta_s) == (None, None)


def test_sources() -> None:
    """Stratum 0 is named though nothing was ever heard of it."""
    told = repository(eventful(), [], NOW).sources
    assert [(each.url, each.is_stratum0, each.state) for each in told] == [
        (STRATUM0, True, "good"),
        (MIRROR, False, "suspended"),
    ]
    assert (told[1].failures, told[1].lies, told[1].problem) == (1, 1, "wrong bytes")


def test_the_whole_document() -> None:
    """Reads back as it was written, times as ISO 8601 in UTC."""
    replica = eventful()
    board = AlarmBoard(lambda: [replica])
    board.update(NOW)
    reporter = Reporter(lambda: [replica], board, NOW - timedelta(hours=1), lambda: 2, lambda: 5)
    status = reporter.status(NOW)
    text = status.model_dump_json()
    assert Status.model_validate_json(text) == status
    document = json.loads(text)
    assert document["now"] == "2026-01-02T00:00:00Z"
    assert document["daemon"] | {"version": ""} == {
        "version": "",
        "started": "2026-01-01T23:00:00Z",
        "uptime_s": 3600.0,
        "workers": 2,
        "waiting": 5,
    }
    [told] = document["repositories"]
    assert [alarm["name"] for alarm in told["alarms"]] == ["disk"]


def test_nothing_is_known_yet() -> None:
    """Of a replica that is new."""
    told = repository(Situation(FQRN), [], NOW)
    assert (told.served, told.upstream, told.last_error, told.sources) == (None, None, None, [])
    assert told.lag_s == 0.0
