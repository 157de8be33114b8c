"""The real client behind a proxy, in both forms, and what becomes of it when others die."""

from __future__ import annotations

import hashlib
from pathlib import Path
from random import Random
from typing import Final

import pytest

from tests.support.hostile_http import truncated
from tests.support.http_stratum0 import HttpStratum0
from tests.support.keys import Keys
from tests.support.proxy_process import ProxyProcess
from tests.support.publisher import Repository
from tests.support.reference_tools import contents, mounted, needs, needs_fuse

pytestmark = [pytest.mark.integration, needs("cvmfs2"), needs_fuse]
FQRN: Final = "test.example.org"
_LARGE: Final = {name: Random(name).randbytes(3_000_000) for name in ("one", "two", "three")}
_FILES: Final = {f"some/file{n}": Random(n).randbytes(n * 40) for n in range(300)}


class Published:
    """A repository, and the key that clients have of it."""

    def __init__(self, keys: Keys, directory: Path) -> None:
        repository = Repository(keys)
        repository.publish({"": {**_LARGE, **_FILES}})
        self.files = dict(repository.files)
        self.key = directory / "key.pub"
        self.key.write_bytes(keys.master_pem)

    def largest_object(self) -> str:
        """One of a large file."""
        return max(self.files, key=lambda path: len(self.files[path]))


@pytest.fixture
def published(keys: Keys, tmp_path: Path) -> Published:
    """One."""
    return Published(keys, tmp_path)


def digest(content: bytes) -> str:
    """To compare, without showing megabytes."""
    return hashlib.sha1(content, usedforsecurity=False).hexdigest()


def read(mount: Path, name: str) -> None:
    """A large file, right to the last byte."""
    assert digest((mount / name).read_bytes()) == digest(_LARGE[name])


def origin(mirror: HttpStratum0) -> str:
    """Where it is, without the repository."""
    return mirror.url.partition("/cvmfs/")[0]


@pytest.mark.parametrize("form", ["reverse", "forward"])
def test_a_whole_repository(form: str, published: Published, tmp_path: Path) -> None:
    """Every file is right, and a second client costs the mirror root files at most."""
    with (
        HttpStratum0(published.files) as mirror,
        ProxyProcess([origin(mirror)], tmp_path / "cache") as proxy,
    ):
        is_forward = form == "forward"
        url = origin(mirror) if is_forward else proxy.url
        more = f"CVMFS_HTTP_PROXY={proxy.url}\n" if is_forward else ""
        with mounted(FQRN, url, published.key, tmp_path / "first", more) as mount:
            seen = contents(mount)
            for name, content in _FILES.items():
                assert (mount / name).read_bytes() == content
        asked = len(mirror.paths)
        with mounted(FQRN, url, published.key, tmp_path / "second", more) as mount:
            assert contents(mount) == seen
        assert not [each for each in mirror.paths[asked:] if each.startswith("data/")]


def test_a_mirror_dies_in_the_middle_of_a_large_file(published: Published, tmp_path: Path) -> None:
    """The client reads on: its proxy has another mirror."""
    with HttpStratum0(published.files) as first, HttpStratum0(published.files) as second:
        dying = published.largest_object()
        first.faults[dying] = truncated(published.files[dying])
        upstreams = [origin(first), origin(second)]
        with (
            ProxyProcess(upstreams, tmp_path / "cache") as proxy,
            mounted(FQRN, proxy.url, published.key, tmp_path / "client") as mount,
        ):
            for name in ("one", "two"):
                read(mount, name)
            first.die()
            read(mount, "three")
            assert dying in first.paths
            assert dying in second.paths


def test_a_proxy_of_a_group_dies(published: Published, tmp_path: Path) -> None:
    """The client goes to the other one of the group."""
    with (
        HttpStratum0(published.files) as mirror,
        ProxyProcess([origin(mirror)], tmp_path / "cache1") as one,
        ProxyProcess([origin(mirror)], tmp_path / "cache2") as other,
    ):
        more = f'CVMFS_HTTP_PROXY="{one.url}|{other.url}"\n'
        with mounted(FQRN, origin(mirror), published.key, tmp_path / "client", more) as mount:
            read(mount, "one")
            used, spare = (one, other) if one.requests else (other, one)
            assert not spare.requests
            used.die()
            read(mount, "two")
            read(mount, "three")
            assert spare.requests
