from __future__ import annotations

from pathlib import Path

import pytest

from mirror.cvmfs.manifest import Manifest
from mirror.cvmfs.paths import MANIFEST, MASTER_REPLICA, WHITELIST, object_path
from mirror.errors import (
    BadSignature,
    Equivocation,
    MirrorError,
    Refused,
    Rollback,
    TrustError,
    Unavailable,
    UpstreamError,
    WhitelistExpired,
)
from mirror.events import SourceLied, SourcePassedOver, SourceSuspended
from mirror.replication.snapshot import SnapshotOptions
from tests.support.clock import NOW
from tests.support.faults import corrupted, once, slow, unavailable
from tests.support.keys import Keys
from tests.support.loops import run
from tests.support.publisher import FIRST_PUBLISHED, Repository
from tests.support.replicas import Mirror

TREE = {"": {f"file{number}": b"%d" % number * 100 for number in range(60)}, "/app": {"x": b"x"}}
MIRROR = "simulated://mirror1"


@pytest.fixture
def mirror(keys: Keys, tmp_path: Path) -> Mirror:
    """A replica of a repository at revision 1, and nobody beside Stratum 0 yet."""
    repository = Repository(keys)
    repository.publish(TREE)
    return Mirror.in_memory(repository, tmp_path)


def publish(mirror: Mirror, number: int = 2) -> None:
    """The next revision, with something new in it."""
    mirror.repository.publish({**TREE, "/new": {f"of{number}": b"new %d" % number}})


def passed_over(mirror: Mirror) -> list[str]:
    """Whose manifest did not count."""
    return [event.source for event in mirror.heard(SourcePassedOver)]


def served(mirror: Mirror) -> int:
    """The revision that is served."""
    return mirror.require_whole()


def error_of(mirror: Mirror) -> MirrorError:
    """What the next snapshot ends with."""
    with pytest.raises(MirrorError) as caught:
        mirror.snapshot()
    return caught.value


# --- objects from anywhere ------------------------------------------------------------------------


def test_objects_come_from_the_mirror(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stratum 0 is asked for what no hash names, and nothing else."""
    monkeypatch.setattr("mirror.upstream.scored._now_s", lambda: 0.0)  # on no machine is it slow
    mirror.add_mirror()
    mirror.snapshot()
    mirror.require_current()
    certificate = Manifest.parse(mirror.repository.files[MANIFEST]).certificate
    assert certificate is not None
    asked = {MANIFEST, WHITELIST, MASTER_REPLICA, object_path(certificate)}
    assert set(mirror.stratum0.paths) == asked


def test_one_dead_one_slow_one_lying(mirror: Mirror) -> None:
    """The snapshot succeeds, the liar is named, and nothing wrong is stored."""
    dead, slow_one, liar = mirror.add_mirror(), mirror.add_mirror(), mirror.add_mirror()
    dead.fault, slow_one.fault = unavailable, slow
    # not the certificate: then its manifest would not be believed either
    objects = sorted(p for p in liar.files if p.startswith("data/") and not p.endswith("X"))
    liar.faults = dict.fromkeys(objects[::10], corrupted)
    mirror.snapshot()
    mirror.require_current()
    assert passed_over(mirror) == [dead.source, slow_one.source]
    assert {event.source for event in mirror.heard(SourceLied)} == {liar.source}
    assert liar.source in {event.source for event in mirror.heard(SourceSuspended)}


def test_what_a_mirror_lacks_comes_from_stratum_0(mirror: Mirror) -> None:
    """And is nobody's failure."""
    lost = sorted(path for path in mirror.repository.files if path.startswith("data/"))[::5]
    held = {path: each for path, each in mirror.repository.files.items() if path not in lost}
    mirror.add_mirror(held)
    mirror.snapshot()
    mirror.require_current()


# --- Stratum 0 dead -------------------------------------------------------------------------------


def test_seeded_from_a_mirror(mirror: Mirror) -> None:
    """Stratum 0 need not be there, and the mirror needs no sentinel."""
    mirror.add_mirror()
    mirror.stratum0.fault = unavailable
    mirror.snapshot()
    mirror.require_current()
    assert passed_over(mirror) == [mirror.stratum0.source]


def test_stratum_0_that_has_nothing_at_all_is_as_good_as_dead(mirror: Mirror) -> None:
    """A web server with nothing behind it forbids nothing."""
    mirror.add_mirror()
    mirror.stratum0.files = {}
    mirror.snapshot()
    assert served(mirror) == 1


def test_updates_come_through_a_mirror(mirror: Mirror) -> None:
    """A revision after the other."""
    mirror.snapshot()
    publish(mirror)
    mirror.add_mirror()
    mirror.stratum0.fault = unavailable
    mirror.snapshot()
    assert served(mirror) == 2


def test_without_permission_no_mirror_helps(mirror: Mirror) -> None:
    """Stratum 0 is there, and does not want to be replicated."""
    mirror.add_mirror()
    mirror.repository.drop(MASTER_REPLICA)
    assert isinstance(error_of(mirror), Refused)


def test_stratum_0_is_asked_again_when_nobody_has_news(mirror: Mirror) -> None:
    """One failure of it must not hide a revision."""
    mirror.snapshot()
    mirror.add_mirror()
    publish(mirror)
    mirror.stratum0.faults[MANIFEST] = once(unavailable)
    mirror.snapshot()
    assert served(mirror) == 2


# --- the newest that holds ------------------------------------------------------------------------


def test_a_mirror_behind_is_passed_over(mirror: Mirror) -> None:
    """The newer manifest of Stratum 0 counts, and the old mirror still delivers what it has."""
    behind = mirror.add_mirror()
    publish(mirror)
    mirror.snapshot()
    mirror.require_current()
    assert passed_over(mirror) == [MIRROR]
    assert "revision 1 " in mirror.heard(SourcePassedOver)[0].reason
    assert any(path.startswith("data/") for path in behind.paths)


def test_stratum_0_that_is_held_back_is_passed_over(mirror: Mirror) -> None:
    """Whoever replays an old manifest on the way to it gains nothing."""
    old = dict(mirror.repository.files)
    publish(mirror)
    mirror.add_mirror()
    mirror.stratum0.files = old
    mirror.snapshot()
    assert served(mirror) == 2
    assert passed_over(mirror) == [mirror.stratum0.source]


def test_a_bad_signature_is_passed_over(mirror: Mirror, other_keys: Keys) -> None:
    """However new it says it is."""
    forged = Repository(other_keys)
    for _ in range(3):
        forged.publish(TREE)
    mirror.add_mirror(forged.files)
    mirror.snapshot()
    mirror.require_current()
    assert passed_over(mirror) == [MIRROR]


def test_an_expired_whitelist_is_passed_over(mirror: Mirror) -> None:
    """A mirror that lies idle since its whitelist was renewed elsewhere."""
    mirror.repository.write_whitelist(expires_at=FIRST_PUBLISHED)
    mirror.add_mirror()
    mirror.repository.sign()
    mirror.snapshot()
    assert passed_over(mirror) == [MIRROR]


def test_of_equal_manifests_the_fresher_whitelist_counts(mirror: Mirror) -> None:
    """It lasts longer for our clients."""
    mirror.add_mirror()
    mirror.repository.write_whitelist(expires_at=NOW.replace(month=2))
    mirror.snapshot()
    assert mirror.root_file(WHITELIST) == mirror.mirrors[0].files[WHITELIST]


def test_all_invalid(mirror: Mirror) -> None:
    """The error is a matter of trust and tells what is wrong with each."""
    mirror.add_mirror({**mirror.repository.files, WHITELIST: b"nonsense"})
    mirror.repository.write_whitelist(expires_at=FIRST_PUBLISHED)
    error = error_of(mirror)
    assert isinstance(error, WhitelistExpired)
    assert "simulated://stratum0: .cvmfswhitelist expired" in str(error)
    assert f"{MIRROR}: " in str(error)


def test_trust_is_graver_than_the_network(mirror: Mirror, other_keys: Keys) -> None:
    """Nobody overlooks a forgery because a server is down, too."""
    files = mirror.repository.files
    mirror.add_mirror({**files, MANIFEST: files[MANIFEST][:-1] + b"\0"})
    mirror.stratum0.fault = unavailable
    error = error_of(mirror)
    assert isinstance(error, BadSignature)
    assert "503" in str(error)


def test_all_dead(mirror: Mirror) -> None:
    """Every source was asked again, and the error names them all."""
    mirror.add_mirror().fault = unavailable
    mirror.stratum0.fault = unavailable
    error = error_of(mirror)
    assert isinstance(error, Unavailable)
    assert "simulated://stratum0" in str(error)
    assert MIRROR in str(error)
    assert mirror.stratum0.paths.count(MANIFEST) == 3


# --- contradictions -------------------------------------------------------------------------------


def other_branch(mirror: Mirror) -> dict[str, bytes]:
    """The same revision number with another content, as validly signed."""
    other = Repository(mirror.repository.keys)
    for _ in mirror.repository.revisions:
        other.publish({"": {"other": b"content"}})
    return other.files


def test_two_contents_for_one_revision(mirror: Mirror) -> None:
    """Nothing is published, and both sources are named."""
    mirror.add_mirror(other_branch(mirror))
    error = error_of(mirror)
    assert isinstance(error, Equivocation)
    assert "simulated://stratum0" in str(error)
    assert MIRROR in str(error)
    assert mirror.root_file(MANIFEST) is None


def test_another_content_for_what_we_serve(mirror: Mirror) -> None:
    """Though Stratum 0 has something newer and nobody else complains."""
    mirror.snapshot()
    mirror.add_mirror(other_branch(mirror))
    publish(mirror)
    assert isinstance(error_of(mirror), Equivocation)
    assert served(mirror) == 1


def test_unsigned_contradictions_are_none(mirror: Mirror, other_keys: Keys) -> None:
    """Noise on the line raises no alarm."""
    forged = Repository(other_keys)
    forged.publish({"": {"other": b"content"}})
    mirror.add_mirror(forged.files)
    mirror.snapshot()
    assert served(mirror) == 1


def test_all_behind_what_we_serve(mirror: Mirror) -> None:
    """Stratum 0 itself went back, and nobody has anything newer."""
    old = dict(mirror.repository.files)
    publish(mirror)
    mirror.snapshot()
    mirror.add_mirror(old)
    mirror.stratum0.files = old
    assert isinstance(error_of(mirror), Rollback)
    assert served(mirror) == 2


def test_a_mirror_behind_is_no_alarm_when_stratum_0_is_dead(mirror: Mirror) -> None:
    """It is Stratum 0 that is missing, and the error says what the mirror has."""
    old = dict(mirror.repository.files)
    publish(mirror)
    mirror.snapshot()
    mirror.add_mirror(old)
    mirror.stratum0.fault = unavailable
    error = error_of(mirror)
    assert isinstance(error, UpstreamError)
    assert not isinstance(error, TrustError)
    assert f"{MIRROR}: revision 1 is offered" in str(error)
    assert served(mirror) == 2


def test_going_back_on_purpose_asks_stratum_0_alone(mirror: Mirror) -> None:
    """The mirrors may not have followed yet; their objects are welcome all the same."""
    old = dict(mirror.repository.files)
    publish(mirror)
    mirror.snapshot()
    mirror.add_mirror()
    mirror.stratum0.files = old
    run(mirror.run_of(NOW, SnapshotOptions(accepts_rollback=True)).run())
    assert served(mirror) == 1
    assert MANIFEST not in mirror.mirrors[0].paths


def test_a_plan_asks_all_sources_too(mirror: Mirror) -> None:
    """It foretells what a run would do."""
    mirror.add_mirror()
    mirror.stratum0.fault = unavailable
    assert mirror.plan().revision == 1
