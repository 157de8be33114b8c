"""Each alarm is raised by what it is named after, by nothing else, and cleared after that."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from mirror.cvmfs.manifest import Manifest
from mirror.cvmfs.paths import MANIFEST
from mirror.daemon.alarms import (
    AlarmBoard,
    AlarmCleared,
    AlarmName,
    AlarmRaised,
    Thresholds,
    alarms,
)
from mirror.daemon.situation import Flip, Run, Situation
from mirror.errors import (
    Corrupted,
    DamageError,
    Equivocation,
    Failure,
    MirrorError,
    ObjectMissing,
    Rollback,
    SnapshotFailed,
    StoreFull,
    Unavailable,
)
from mirror.events import ManifestAccepted, SourcePassedOver
from tests.support.clock import NOW
from tests.support.keys import Keys
from tests.support.publisher import Repository
from tests.support.situations import FQRN, MIRROR, STRATUM0, failing, revision, situation

MINUTE = timedelta(minutes=1)


def names(of: Situation, thresholds: Thresholds | None = None) -> list[AlarmName]:
    """Those that are due now."""
    return [alarm.name for alarm in alarms(of, thresholds or Thresholds(), NOW)]


def failed(error: MirrorError) -> SnapshotFailed:
    """A run that could not bring one object home."""
    return SnapshotFailed([Failure("data/aa/bb", "/", error)], 1)


@pytest.mark.parametrize("served", [7, None])
def test_all_is_well(served: int | None) -> None:
    """Then nobody is woken; nor by a replica that was never fetched yet."""
    assert names(situation(served=served)) == []


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (Rollback("revision 6 is offered"), AlarmName.ROLLBACK),
        (Equivocation("two root catalogs"), AlarmName.EQUIVOCATION),
        (StoreFull("no space"), AlarmName.DISK),
        (failed(StoreFull("no space")), AlarmName.DISK),
        (DamageError("3 objects are missing"), AlarmName.DAMAGE),
        (ObjectMissing("data/aa"), AlarmName.DAMAGE),
    ],
)
def test_trouble_at_once(error: MirrorError, name: AlarmName) -> None:
    """What no second attempt mends is told after the first, with a reason and a way out."""
    replica = situation()
    failing(replica, error)
    [alarm] = alarms(replica, Thresholds(), NOW)
    assert (alarm.name, alarm.fqrn, alarm.since) == (name, FQRN, NOW)
    assert alarm.sentence
    assert alarm.what_to_do


def test_failures_in_a_row() -> None:
    """One that passes by itself is told only when it does not."""
    replica = situation()
    failing(replica, Unavailable("nobody answers"), times=2)
    assert names(replica) == []
    failing(replica, Unavailable("nobody answers"))
    assert names(replica) == [AlarmName.FAILED]
    assert names(replica, Thresholds(failures=4)) == []


def test_check_found_damage() -> None:
    """What a check found is told until another one finds nothing."""
    replica = situation()
    replica.damage = "3 objects are missing"
    assert names(replica) == [AlarmName.DAMAGE]


@pytest.mark.parametrize(
    ("age_s", "expected"), [(1799.0, []), (1800.0, []), (1802.0, [AlarmName.STALE])]
)
def test_stale(age_s: float, expected: list[AlarmName]) -> None:
    """Clients are behind for longer than they may be, by the first revision that they lack."""
    replica = situation()
    replica.see(revision(8, age_s=age_s))
    replica.see(revision(9, age_s=1.0))
    assert names(replica) == expected


def test_stale_while_it_is_fetched(keys: Keys) -> None:
    """What a run found counts from when it was published, however long fetching takes."""
    repository = Repository(keys)
    for number in range(8):
        repository.publish({"": {"file": str(number).encode()}})
    manifest = Manifest.parse(repository.files[MANIFEST])
    replica = situation()
    replica.hear(ManifestAccepted(FQRN, 8, 7, manifest))
    assert replica.lag_s(NOW.timestamp()) == NOW.timestamp() - manifest.published_at
    assert names(replica) == [AlarmName.STALE]


def test_a_first_snapshot_is_not_stale() -> None:
    """However long ago the publisher published."""
    replica = situation(served=None)
    replica.see(revision(8, age_s=1e6))
    assert names(replica) == []


def test_nobody_knows() -> None:
    """Nobody delivers, so nobody can say how far behind clients are."""
    replica = situation()
    replica.last_look = NOW - timedelta(hours=1)
    assert names(replica) == [], "it is only looked at rarely"
    failing(replica, Unavailable("nobody answers"))
    assert names(replica) == [AlarmName.STALE]


@pytest.mark.parametrize(
    ("left", "sentence"),
    [
        (timedelta(hours=48), "expires in 2 days"),
        (timedelta(hours=1, minutes=59), "expires in 119 minutes"),
        (timedelta(0), "has expired"),
        (timedelta(hours=-5), "has expired"),
    ],
)
def test_whitelist(left: timedelta, sentence: str) -> None:
    """Told two days before."""
    replica = situation()
    replica.whitelist_expires = NOW + left
    [alarm] = alarms(replica, Thresholds(), NOW)
    assert alarm.name is AlarmName.WHITELIST
    assert sentence in alarm.sentence
    replica.whitelist_expires = NOW + timedelta(hours=48, seconds=1)
    assert names(replica) == []


def test_nothing_is_signed_any_more() -> None:
    """Answers from a frozen past end with its whitelist; a busy publisher is not suspected."""
    replica = situation()
    replica.whitelist_expires = NOW + timedelta(hours=3)
    replica.served = revision(7, age_s=20 * 86_400)
    assert names(replica) == [AlarmName.FREEZE, AlarmName.WHITELIST]
    replica.served = revision(7, age_s=86_400)
    assert names(replica) == [AlarmName.WHITELIST]


def survey(replica: Situation, *passed_over: SourcePassedOver) -> None:
    """A run asks all sources."""
    replica.run = Run(NOW)
    for event in passed_over:
        replica.hear(event)
    replica.hear(ManifestAccepted(FQRN, 8, 7))
    replica.run = None


@pytest.mark.parametrize(
    ("source", "is_older", "expected"),
    [
        (STRATUM0, True, [AlarmName.FREEZE]),
        (STRATUM0, False, []),
        (MIRROR, True, []),
    ],
)
def test_stratum0_stands_still(source: str, is_older: bool, expected: list[AlarmName]) -> None:
    """Others have newer valid manifests; that a mirror is late, or a source down, is usual."""
    replica = situation()
    survey(replica, SourcePassedOver(FQRN, source, "revision 7 is older", is_older))
    assert names(replica) == expected
    survey(replica)
    assert names(replica) == []


def test_another_key() -> None:
    """Told for a day."""
    replica = situation()
    replica.note_key(NOW)
    assert names(replica) == []
    replica.flip(Flip(revision(8, certificate="bbX"), NOW, 1.0, 1, 1))
    replica.note_key(NOW)
    replica.note_key(NOW + MINUTE)
    [alarm] = alarms(replica, Thresholds(), NOW)
    assert (alarm.name, "bbX" in alarm.sentence) == (AlarmName.KEY_CHANGE, True)
    assert alarms(replica, Thresholds(), NOW + timedelta(days=1)) == []


# --- the board ------------------------------------------------------------------------------------


def test_raised_once_and_cleared_once() -> None:
    """And in between it stays what it was, since when it was."""
    replica = situation()
    board = AlarmBoard(lambda: [replica])
    failing(replica, StoreFull("no space"))
    [raised] = board.update(NOW)
    assert isinstance(raised, AlarmRaised)
    assert raised.alarm.name is AlarmName.DISK
    assert board.update(NOW + MINUTE) == []
    assert [alarm.since for alarm in board.of(FQRN)] == [NOW]
    replica.trouble, replica.failures = None, 0
    [cleared] = board.update(NOW + 2 * MINUTE)
    assert isinstance(cleared, AlarmCleared)
    assert (cleared.alarm, cleared.after_s) == (raised.alarm, 120.0)
    assert board.of(FQRN) == []


@pytest.mark.parametrize("error", [Rollback("older"), Equivocation("two")])
def test_another_failure_does_not_clear_an_attack(error: MirrorError) -> None:
    """Only an attempt that ends well does."""
    replica = situation()
    board = AlarmBoard(lambda: [replica])
    failing(replica, error)
    board.update(NOW)
    failing(replica, Unavailable("nobody answers"))
    assert board.update(NOW + MINUTE) == []
    replica.trouble, replica.failures = None, 0
    assert [type(event) for event in board.update(NOW + MINUTE)] == [AlarmCleared]


def test_a_disk_that_has_room_again() -> None:
    """Another failure says so."""
    replica = situation()
    board = AlarmBoard(lambda: [replica])
    failing(replica, failed(StoreFull("no space")))
    board.update(NOW)
    failing(replica, failed(Corrupted("wrong hash")))
    assert [type(event) for event in board.update(NOW)] == [AlarmCleared]


def test_a_replica_that_is_forgotten() -> None:
    """Takes its alarms with it."""
    replica = situation()
    kept = [replica]
    board = AlarmBoard(lambda: kept)
    failing(replica, StoreFull("no space"))
    board.update(NOW)
    kept.clear()
    assert [type(event) for event in board.update(NOW)] == [AlarmCleared]


def test_thresholds_of_one_repository() -> None:
    """Each may have its own."""
    patient = Thresholds(stale_s=1e9)
    replica = situation()
    replica.see(revision(8, age_s=1e6))
    limits: list[Callable[[object], Thresholds]] = [lambda _: patient, lambda _: Thresholds()]
    raised = [len(AlarmBoard(lambda: [replica], limit).update(NOW)) for limit in limits]
    assert raised == [0, 1]
