"""Redirects: a repository's URL is part of what the operator trusts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.hostile_http import redirect
from tests.support.http_stratum0 import HttpStratum0
from tests.support.siege import FQRN, ONE_TRY, Part, Siege

FOLLOW = ONE_TRY + "follow_redirects = true\n"


@pytest.fixture
def elsewhere(siege: Siege) -> Iterator[HttpStratum0]:
    """Another server, which has everything."""
    with HttpStratum0(siege.repository.files, FQRN) as stratum0:
        yield stratum0


@pytest.mark.parametrize(
    "part", [Part.MASTER_REPLICA, Part.MANIFEST, Part.CERTIFICATE, Part.WHITELIST, Part.HISTORY]
)
def test_root_files(siege: Siege, elsewhere: HttpStratum0, part: Part) -> None:
    """A redirect is refused, and where it leads to is told and never asked."""
    target = f"{elsewhere.url}/{siege.path(part)}"
    path = siege.attack(part, redirect(target))
    siege.assert_repelled(3, "Refused", path, "302", target, "follow_redirects")
    assert elsewhere.paths == []
    siege.assert_recovers()


@pytest.mark.parametrize("part", [Part.ROOT_CATALOG, Part.NESTED_CATALOG, Part.OBJECT, Part.CHUNK])
def test_objects(siege: Siege, elsewhere: HttpStratum0, part: Part) -> None:
    """The same is true of everything that a hash would prove."""
    target = f"{elsewhere.url}/{siege.path(part)}"
    path = siege.attack(part, redirect(target))
    siege.assert_repelled(3, "SnapshotFailed", path, "302", target)
    assert elsewhere.paths == []
    siege.assert_recovers()


@pytest.mark.parametrize("part", [Part.MANIFEST, Part.ROOT_CATALOG, Part.OBJECT])
def test_followed_where_that_is_configured(
    siege: Siege, elsewhere: HttpStratum0, part: Part
) -> None:
    """Operators may say that their Stratum 0 redirects."""
    siege.attack(part, redirect(f"{elsewhere.url}/{siege.path(part)}"))
    siege.configure(FOLLOW)
    siege.assert_accepted()
    assert elsewhere.paths == [siege.path(part)]


def test_in_a_circle(siege: Siege) -> None:
    """Even then nobody is sent around for ever."""
    path = siege.attack(Part.MANIFEST, redirect(f"{siege.stratum0.url}/.cvmfspublished"))
    siege.configure(FOLLOW)
    siege.assert_repelled(3, "Unavailable", path)
    assert siege.stratum0.paths.count(path) < 20
    siege.assert_recovers()


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "http://", "//"])
def test_out_of_http(siege: Siege, target: str) -> None:
    """Even then nobody is sent to the file system, or nowhere."""
    path = siege.attack(Part.MANIFEST, redirect(target))
    siege.configure(FOLLOW)
    siege.assert_repelled(3, "Unavailable", path)
    siege.assert_recovers()
