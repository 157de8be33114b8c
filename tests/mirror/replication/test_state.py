from __future__ import annotations

import json
import locale
import subprocess
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.cvmfs.paths import IS_SNAPSHOTTING, LAST_SNAPSHOT, STATUS
from mirror.errors import FormatError
from mirror.replication import state
from mirror.store.memory import MemoryStore
from tests.support.loops import run

MOMENT = datetime(2026, 11, 21, 9, 30, 24, tzinfo=UTC)
TEXT = "Sat Nov 21 09:30:24 UTC 2026"
moments = st.integers(0, 253_402_300_799).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))


def test_dates_look_as_scripts_expect() -> None:
    """Exactly as ``date --utc`` prints them in the C locale."""
    assert state.date_text(MOMENT) == TEXT
    command = ["date", "--utc", "--date", "@1795253424"]
    printed = subprocess.run(command, env={"LC_ALL": "C"}, capture_output=True, check=True).stdout
    assert printed.decode().strip() == TEXT
    assert state.date_text(datetime(2026, 1, 2, tzinfo=UTC)) == "Fri Jan  2 00:00:00 UTC 2026"


@given(moments)
def test_dates_can_be_read_back(moment: datetime) -> None:
    """Nothing but fractions of seconds gets lost."""
    assert state.parse_date(state.date_text(moment)) == moment


def test_other_zones_are_converted() -> None:
    """What is written is UTC, wherever the host stands."""
    zone = timezone(timedelta(hours=5, minutes=30))
    assert state.date_text(MOMENT.astimezone(zone)) == TEXT


def test_the_locale_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of days and months are English."""
    monkeypatch.setattr(locale, "setlocale", None)  # nobody may be tempted
    assert state.date_text(MOMENT) == TEXT


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-11-21T09:30:24Z",
        "Sat Nov 21 09:30:24 CET 2026",
        "Sat Nov 31 09:30:24 UTC 2026",
        "Sat Foo 21 09:30:24 UTC 2026",
        "Sat Nov 21 25:30:24 UTC 2026",
        "Sat Nov 21 09:30:24 UTC 99999",
        "Sat Nov 21 09:30:24 UTC",
        "x" * 10_000,
    ],
)
def test_what_is_no_date(text: str) -> None:
    """It is told, and not at length."""
    with pytest.raises(FormatError, match="is not a date") as caught:
        state.parse_date(text)
    assert len(str(caught.value)) < 200


# --- the three files ------------------------------------------------------------------------------


def test_begun_and_ended() -> None:
    """While a snapshot is under way a file says since when."""
    store = MemoryStore()
    run(state.tell_begun(store, MOMENT))
    assert store.root_files == {IS_SNAPSHOTTING: f"{TEXT}\n".encode()}
    run(state.tell_ended(store))
    assert store.root_files == {}


def test_succeeded() -> None:
    """When the last one ended well is there for people and for machines."""
    store = MemoryStore()
    assert run(state.is_initial(store))
    assert run(state.last_snapshot(store)) is None
    run(state.tell_succeeded(store, MOMENT))
    assert not run(state.is_initial(store))
    assert run(state.last_snapshot(store)) == MOMENT
    assert store.root_files[LAST_SNAPSHOT] == f"{TEXT}\n".encode()
    assert json.loads(store.root_files[STATUS]) == {"last_snapshot": TEXT}


def test_what_others_keep_in_the_status_stays() -> None:
    """Only our own facts are replaced."""
    store = MemoryStore()
    theirs = {"last_gc": TEXT, "check_status": "succeeded", "last_snapshot": "long ago"}
    store.root_files[STATUS] = json.dumps(theirs).encode()
    run(state.tell_succeeded(store, MOMENT))
    assert run(state.read_status(store)) == {**theirs, "last_snapshot": TEXT}


@pytest.mark.parametrize("raw", [b"", b"{", b"[1]", b"\xff\xfe", b'"text"', b"null", b"[" * 5000])
def test_a_status_that_is_none(raw: bytes) -> None:
    """It is begun anew, and does not stop a snapshot."""
    store = MemoryStore()
    store.root_files[STATUS] = raw
    assert run(state.read_status(store)) == {}
    run(state.tell_status(store, last_check=TEXT))
    assert run(state.read_status(store)) == {"last_check": TEXT}


@pytest.mark.parametrize("raw", [b"yesterday\n", b"\xff", b""])
def test_a_last_snapshot_that_is_no_date(raw: bytes) -> None:
    """There was one, nobody knows when."""
    store = MemoryStore()
    store.root_files[LAST_SNAPSHOT] = raw
    assert not run(state.is_initial(store))
    assert run(state.last_snapshot(store)) is None


def test_files_that_are_far_too_long() -> None:
    """What other tools left may be anything, and does not stop a snapshot."""
    store = MemoryStore()
    store.root_files = {LAST_SNAPSHOT: b"x" * 100_000, STATUS: b" " * 100_000}
    assert not run(state.is_initial(store))
    assert run(state.last_snapshot(store)) is None
    run(state.tell_succeeded(store, MOMENT))
    assert run(state.read_status(store)) == {"last_snapshot": TEXT}
