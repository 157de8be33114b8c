"""A server that does not have it, cannot, does not want to, or says nothing at all."""

from __future__ import annotations

import pytest

from mirror.cvmfs.paths import object_path
from tests.support.hostile_http import silent, status
from tests.support.http_stratum0 import HttpStratum0
from tests.support.siege import IMPATIENT, Part, Siege

NAMED = [Part.MANIFEST, Part.WHITELIST, Part.CERTIFICATE, Part.HISTORY, Part.META_INFO]
WALKED = [Part.ROOT_CATALOG, Part.NESTED_CATALOG, Part.OBJECT, Part.CHUNK]
ANSWERS = [
    (404, "NotFound"),
    (410, "NotFound"),
    (500, "Unavailable"),
    (503, "Unavailable"),
    (429, "Unavailable"),
    (403, "Refused"),
    (401, "Refused"),
    (204, "Refused"),
    (206, "Refused"),
    (304, "Refused"),
]


@pytest.mark.parametrize("part", NAMED)
@pytest.mark.parametrize(
    ("code", "kind"), [(404, "NotFound"), (500, "Unavailable"), (403, "Refused")]
)
def test_no_root_file(siege: Siege, part: Part, code: int, kind: str) -> None:
    """Without any of what the manifest needs there is no new revision."""
    path = siege.attack(part, status(code))
    siege.assert_repelled(3, kind, path, str(code))
    siege.assert_recovers()


@pytest.mark.parametrize("part", WALKED)
@pytest.mark.parametrize("code", [404, 500, 403])
def test_no_object(siege: Siege, part: Part, code: int) -> None:
    """Without any of its objects a revision is not published, the root catalog included (#4270)."""
    path = siege.attack(part, status(code))
    siege.assert_repelled(3, "SnapshotFailed", path, f"answered {code}")
    siege.assert_recovers()


@pytest.mark.parametrize("part", NAMED)
def test_no_answer_for_a_root_file(siege: Siege, part: Part) -> None:
    """Nobody is waited for longer than configured."""
    path = siege.attack(part, silent)
    siege.configure(IMPATIENT)
    siege.assert_repelled(3, "TooSlow", path, "nothing for 0.5 s")
    siege.assert_recovers()


@pytest.mark.parametrize("part", WALKED)
def test_no_answer_for_an_object(siege: Siege, part: Part) -> None:
    """The same is true of objects."""
    path = siege.attack(part, silent)
    siege.configure(IMPATIENT)
    siege.assert_repelled(3, "SnapshotFailed", path, "nothing for 0.5 s")
    siege.assert_recovers()


@pytest.mark.parametrize(("code", "kind"), ANSWERS)
def test_every_answer_but_200(siege: Siege, code: int, kind: str) -> None:
    """Only 200 brings what was asked for; every other answer is told for what it is."""
    path = siege.attack(Part.MANIFEST, status(code))
    siege.assert_repelled(3, kind, path, str(code))
    siege.assert_recovers()


def test_one_missing_object_does_not_stop_the_others(siege: Siege) -> None:
    """All that can be had is stored, and the error names object, catalog and reason."""
    path = siege.attack(Part.OBJECT, status(500))
    siege.assert_repelled(3, "SnapshotFailed", f"{path} (of the catalog at /app)", "answered 500")
    data = [each for each in siege.new_paths if each[-1] not in "CHMX"]
    stored = [each for each in data if (siege.site.root / each).exists()]
    assert {*data} - {*stored} == {path}
    siege.assert_recovers()


def test_what_was_stored_is_not_fetched_again(siege: Siege) -> None:
    """The run after a failed one asks only for what is missing still."""
    path = siege.attack(Part.OBJECT, status(500))
    siege.assert_repelled(3, "SnapshotFailed", path)
    siege.stratum0.requests.clear()
    siege.assert_recovers()
    data = [each for each in siege.stratum0.paths if each[:5] == "data/" and each[-1] not in "CHMX"]
    assert data == [path]


def test_not_offered_for_replication(siege: Siege) -> None:
    """Whoever takes the sentinel away does not want to be replicated."""
    path = siege.attack(Part.MASTER_REPLICA, status(404))
    siege.stratum0.requests.clear()
    siege.assert_repelled(3, "Refused", path, "replication")
    assert not any(each.startswith("data/") for each in siege.stratum0.paths)
    siege.assert_recovers()


def test_no_server(siege: Siege) -> None:
    """Where nobody listens, that is what the error says."""
    with HttpStratum0({}) as gone:
        url = gone.url
    siege.configure(url=url)
    siege.assert_repelled(3, "Unavailable", url, "onnect")
    siege.assert_recovers()


# --- old roots, which the origin may have collected -----------------------------------------------


def collected_root(siege: Siege) -> str:
    """The root of a tag that only the tag still leads to: replica at 1, tag of 2, offer of 4."""
    root = siege.path(Part.ROOT_CATALOG)
    siege.publish()
    siege.publish()
    return root


def test_collected_root_of_a_tag_is_skipped(
    siege: Siege, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where garbage is collected, an old root may be gone; the operator is told, and it is fine."""
    siege.stratum0.faults[collected_root(siege)] = status(404)
    assert siege.site.run("snapshot") == 0
    assert "tag v2" in capsys.readouterr().err
    siege.assert_accepted()


def test_missing_root_of_a_tag_where_nothing_is_collected(siege: Siege) -> None:
    """Where garbage is not collected, an old root that is gone is a loss."""
    root = collected_root(siege)
    siege.stratum0.faults[root] = status(404)
    siege.repository.resign(G="no")
    siege.assert_repelled(3, "SnapshotFailed", root, "404")
    siege.assert_recovers()


@pytest.mark.parametrize("code", [500, 403])
def test_old_root_that_cannot_be_had(siege: Siege, code: int) -> None:
    """An error is not an absence: what is not known to be gone is not skipped."""
    root = collected_root(siege)
    siege.stratum0.faults[root] = status(code)
    siege.assert_repelled(3, "SnapshotFailed", root, str(code))
    siege.assert_recovers()


def test_old_root_with_wrong_bytes(siege: Siege) -> None:
    """Nor is a root skipped that is there and wrong."""
    root = collected_root(siege)
    siege.repository.flip(root)
    siege.assert_repelled(3, "SnapshotFailed", root, "was delivered with the hash")
    siege.assert_recovers()


def test_collected_predecessor_is_skipped(siege: Siege) -> None:
    """The revision between the served one and the offered one may be gone too."""
    predecessor = siege.path(Part.ROOT_CATALOG)
    siege.repository.tags.clear()
    siege.publish()
    siege.stratum0.faults[predecessor] = status(404)
    siege.assert_accepted()
    assert predecessor in siege.stratum0.paths


def test_half_a_tag(siege: Siege) -> None:
    """An old root that is there without its tree is not skipped: the origin is damaged."""
    nested = siege.path(Part.NESTED_CATALOG)
    collected_root(siege)
    siege.stratum0.faults[nested] = status(404)
    siege.assert_repelled(3, "SnapshotFailed", nested, "404")
    siege.assert_recovers()


@pytest.mark.parametrize("code", [404, 410])
def test_head_is_never_skipped(siege: Siege, code: int) -> None:
    """A collected root is an old one; the one that the manifest names has to be there (#4270)."""
    siege.repository.resign(G="yes")
    root = siege.attack(Part.ROOT_CATALOG, status(code))
    siege.assert_repelled(3, "SnapshotFailed", root, str(code))
    assert object_path(siege.repository.revisions[-1].root) == root
    siege.assert_recovers()
