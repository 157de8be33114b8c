"""The real CernVM-FS accepts what we make, and continues it; and we continue what it made."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mirror.cvmfs.content_hash import Algorithm
from tests.support.http_stratum0 import HttpStratum0
from tests.support.keys import Keys
from tests.support.publisher import Repository
from tests.support.reference_tools import (
    contents,
    mounted,
    needs,
    needs_fuse,
    reference_check,
    reference_pull,
)
from tests.support.served import served
from tests.support.site import Site

pytestmark = pytest.mark.integration

FQRN = "software.example.org"


def key_file(fixture_repository: Path) -> Path:
    """The public master key of the fixture."""
    return fixture_repository / "keys" / f"{FQRN}.pub"


@contextmanager
def fixture_site(
    directory: Path, repository: Path, tree: int
) -> Iterator[tuple[Site, HttpStratum0]]:
    """A host, and the fixture published at one of its trees."""
    with HttpStratum0(repository / f"rev{tree}", FQRN) as stratum0:
        yield Site(directory, FQRN, stratum0.url, key_file(repository).read_bytes()), stratum0


@needs("cvmfs2")
@needs_fuse
@pytest.mark.parametrize("tree", [2, 3, 4, 5, 6, 8])
def test_the_real_client_reads_every_file_of_our_replica(
    fixture_repository: Path, tmp_path: Path, tree: int
) -> None:
    """Mounted through us, each file, link and directory equals what Stratum 0 published."""
    with fixture_site(tmp_path, fixture_repository, tree) as (site, stratum0):
        assert site.run("snapshot") == 0
        origin = f"http://127.0.0.1:{stratum0.port}"
        with mounted(FQRN, origin, site.key, tmp_path / "a") as mount:
            published = contents(mount)
    with (
        served(site.storage) as url,
        mounted(FQRN, url, site.key, tmp_path / "b") as mount,
    ):
        assert contents(mount) == published
    assert len(published) > 200


@needs("cvmfs_swissknife")
@pytest.mark.parametrize("tree", range(1, 9))
def test_the_real_check_accepts_our_tree(
    fixture_repository: Path, tmp_path: Path, tree: int
) -> None:
    """``cvmfs_swissknife check`` finds signatures, objects and reflog as they should be."""
    with fixture_site(tmp_path, fixture_repository, tree) as (site, _):
        assert site.run("snapshot") == 0
    with served(site.storage) as url:
        reflog = site.spool / "reflog.chksum"
        reference_check(f"{url}/cvmfs/{FQRN}", FQRN, site.key, reflog, tmp_path / "scratch")


@needs("cvmfs_swissknife")
def test_the_real_pull_continues_our_tree(fixture_repository: Path, tmp_path: Path) -> None:
    """What we began, ``cvmfs_swissknife pull`` finishes, reflog and checksum included."""
    with fixture_site(tmp_path, fixture_repository, 3) as (site, stratum0):
        assert site.run("snapshot") == 0
        stratum0.files = fixture_repository / "rev6"
        reference_pull(FQRN, stratum0.url, site.root, site.key, site.spool, is_initial=False)
        assert site.run("check", "--full") == 0
        stratum0.files = fixture_repository / "rev7"
        assert site.run("snapshot") == 0
    with served(site.storage) as url:
        reflog = site.spool / "reflog.chksum"
        reference_check(f"{url}/cvmfs/{FQRN}", FQRN, site.key, reflog, tmp_path / "scratch")


@needs("cvmfs_swissknife")
def test_we_continue_the_real_pulls_tree(fixture_repository: Path, tmp_path: Path) -> None:
    """What ``cvmfs_swissknife pull`` began, we finish, and it goes on after us."""
    with fixture_site(tmp_path, fixture_repository, 3) as (site, stratum0):
        reference_pull(FQRN, stratum0.url, site.root, site.key, site.spool, is_initial=True)
        stratum0.files = fixture_repository / "rev5"
        assert site.run("snapshot") == 0
        assert site.run("check", "--full") == 0
        stratum0.files = fixture_repository / "rev6"
        reference_pull(FQRN, stratum0.url, site.root, site.key, site.spool, is_initial=False)
        stratum0.files = fixture_repository / "rev8"
        assert site.run("snapshot") == 0
        assert site.run("check", "--full") == 0
    assert site.temporaries() == []


@needs("cvmfs2")
@needs_fuse
def test_the_real_client_follows_our_flip(fixture_repository: Path, tmp_path: Path) -> None:
    """A client mounted while we replace the manifest reads on without an error."""
    with fixture_site(tmp_path, fixture_repository, 5) as (site, stratum0):
        assert site.run("snapshot") == 0
        with served(site.storage) as url, mounted(FQRN, url, site.key, tmp_path / "m") as mount:
            stratum0.files = fixture_repository / "rev6"
            snapshot = threading.Thread(target=lambda: site.run("snapshot"))
            snapshot.start()
            files = [path for path in mount.rglob("*") if path.is_file()]
            assert all(path.stat().st_size == len(path.read_bytes()) for path in files)
            snapshot.join()


@needs("cvmfs2")
@needs_fuse
@pytest.mark.parametrize("algorithm", list(Algorithm))
@pytest.mark.parametrize("is_packed", [True, False])
def test_the_real_client_reads_all_hashes_and_compressions(
    keys: Keys, tmp_path: Path, algorithm: Algorithm, *, is_packed: bool
) -> None:
    """SHA-1, RIPEMD-160 and SHAKE-128, packed or not: replicated and mounted alike."""
    tree = {"": {"a": b"alpha", "empty": b""}, "/sub": {"big": bytes(3_000_000), "b": b"beta"}}
    repository = Repository(keys, algorithm=algorithm, is_packed=is_packed)
    repository.publish(tree, tag="v1")
    with HttpStratum0(repository.files) as stratum0:
        site = Site(tmp_path, "test.example.org", stratum0.url, keys.master_pem)
        assert site.run("snapshot") == 0
    with (
        served(site.storage) as url,
        mounted("test.example.org", url, site.key, tmp_path / "m") as mount,
    ):
        assert (mount / "a").read_bytes() == b"alpha"
        assert (mount / "empty").read_bytes() == b""
        assert (mount / "sub" / "big").read_bytes() == bytes(3_000_000)
