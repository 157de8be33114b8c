"""What our publisher makes, the real CernVM-FS mounts, checks, replicates; and we continue its."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from mirror.cvmfs.content_hash import Algorithm, ContentHash
from mirror.stratum0.catalog_rows import read_catalog
from mirror.stratum0.collection import plan_collection, sweep
from mirror.stratum0.packer import PackingOptions
from mirror.stratum0.publishing import PublicationOptions
from mirror.stratum0.repository import Stratum0Repository
from mirror.stratum0.retagging import retag
from tests.support.everything import (
    VARIANT_CONFIG,
    made_markers,
    make_everything,
    seen_below,
    without_made_markers,
)
from tests.support.keys import FIXTURE_NAME, Keys
from tests.support.origin import Origin
from tests.support.reference_tools import (
    mounted,
    needs,
    needs_fuse,
    reference_check,
    reference_pull,
)
from tests.support.served import served
from tests.support.site import Site

pytestmark = pytest.mark.integration

CLIENT_CONFIG: Final = (
    f"CVMFS_CLAIM_OWNERSHIP=no\nCVMFS_MAGIC_XATTRS_VISIBILITY=never\n{VARIANT_CONFIG}"
)
FUTURE: Final = 2**40


@pytest.fixture(scope="session")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with everything. Read only."""
    return make_everything(tmp_path_factory.mktemp("source") / "everything")


@contextmanager
def client(origin: Origin, storage: Path, directory: Path) -> Iterator[Path]:
    """Mount a tree of a repository, its own or a replica's."""
    with (
        served(storage) as url,
        mounted(origin.fqrn, url, origin.master, directory, CLIENT_CONFIG) as mount,
    ):
        yield mount


def replicated(origin: Origin, keys: Keys, directory: Path) -> Site:
    """Replicate it with our snapshot."""
    directory.mkdir()
    with served(origin.storage) as url:
        stratum0 = f"{url}/cvmfs/{origin.fqrn}"
        site = Site(directory, origin.fqrn, stratum0, keys.master_pem)
        assert site.run("snapshot") == 0
    return site


def check(origin: Origin, scratch: Path) -> None:
    """Let the real check look at the published tree, reflog included."""
    algorithm = origin.manifest.root_catalog.algorithm
    checksum = ContentHash.of(algorithm, (origin.root / ".cvmfsreflog").read_bytes())
    file = origin.root.parent / "reflog.chksum"
    file.write_text(checksum.text)
    with served(origin.storage) as url:
        reference_check(f"{url}/cvmfs/{origin.fqrn}", origin.fqrn, origin.master, file, scratch)


# --- one tree with everything ---------------------------------------------------------------------


@needs("cvmfs2")
@needs_fuse
@needs("cvmfs_swissknife")
@pytest.mark.parametrize("is_packed", [True, False], ids=["zlib", "none"])
@pytest.mark.parametrize("algorithm", list(Algorithm), ids=lambda each: each.name)
def test_the_real_client_sees_what_was_published(
    everything: Path, keys: Keys, tmp_path: Path, algorithm: Algorithm, *, is_packed: bool
) -> None:
    """Bytes, kinds, modes, owners, times, links, devices and xattrs arrive as the source's."""
    origin = Origin(tmp_path, keys)
    options = PublicationOptions(packing=PackingOptions(algorithm, is_packed), largest_catalog=40)
    report = origin.publish(everything, options)
    expected = seen_below(everything, is_source=True)
    site = replicated(origin, keys, tmp_path / "replica")
    with client(origin, site.storage, tmp_path / "m") as mount:
        seen = seen_below(mount, is_source=False)
    assert without_made_markers(seen) == expected
    assert b"/sw/two/1.0/.cvmfscatalog" in made_markers(seen)
    check(origin, tmp_path / "scratch")
    assert report.root.algorithm == algorithm
    assert report.written_catalogs > 10
    assert origin.publish(everything, options).was_unchanged


@needs("cvmfs2")
@needs_fuse
def test_the_real_client_mounts_our_stratum0_itself(
    everything: Path, keys: Keys, tmp_path: Path
) -> None:
    """The published tree is a web root as cvmfs_server makes it: no replica is needed to read."""
    origin = Origin(tmp_path, keys)
    origin.publish(everything)
    with client(origin, origin.storage, tmp_path / "m") as mount:
        seen = seen_below(mount, is_source=False)
    assert without_made_markers(seen) == seen_below(everything, is_source=True)


# --- a history ------------------------------------------------------------------------------------

TREE: Final[dict[bytes, bytes | None]] = {
    b"/.cvmfsdirtab": b"/sw/*\n",
    b"/sw/a/file": b"a",
    b"/sw/b/file": b"b",
    b"/sw/b/deep/.cvmfscatalog": b"",
    b"/sw/b/deep/file": b"deep",
    b"/top": b"top",
}
WITHOUT_GC: Final = PublicationOptions(is_garbage_collectable=False)
WITH_GC: Final = PublicationOptions(is_garbage_collectable=True)
LAYER: Final = {b"/x": b"x", b"/b/file": b"other"}


def steps(origin: Origin) -> Iterator[str]:
    """Change the repository in every way there is, a step at a time."""
    origin.publish(TREE)
    yield "first"
    origin.publish(TREE | {b"/sw/a/file": b"changed"}, PublicationOptions(tag="v1"))
    yield "content"
    smaller = {path: each for path, each in TREE.items() if b"deep" not in path}
    origin.publish(smaller)
    yield "a nested catalog removed"
    origin.publish({b"/file": b"based"}, PublicationOptions(base=b"/sw/c"))
    yield "base"
    origin.publish(LAYER, PublicationOptions(base=b"/sw", overlays=True))
    yield "overlay"
    options = PublicationOptions(base=b"/sw/d", deletes=(b"/sw/a",), largest_catalog=3)
    origin.publish({b"/%d/f%d" % (n % 3, n): b"" for n in range(9)}, options)
    yield "delete, and split by size"
    retag(origin.repository, origin.keys, add=("v2", "two"))
    yield "tag added"
    retag(origin.repository, origin.keys, remove=("v1",))
    yield "tag removed"
    origin.publish(TREE, WITHOUT_GC)
    yield "no gc"
    origin.publish(TREE, WITH_GC)
    yield "gc"
    names = [row.name for row in origin.repository.tags(origin.manifest).rows]
    generic = tuple(name for name in names if name.startswith("generic-"))
    retag(origin.repository, origin.keys, remove=generic)
    sweep(origin.repository, plan_collection(origin.repository, origin.manifest, FUTURE))
    yield "collected"
    origin.repository.renew_whitelist(origin.keys, origin.manifest.root_catalog.algorithm, 9)
    yield "resigned"


@needs("cvmfs_swissknife")
@pytest.mark.parametrize("algorithm", list(Algorithm), ids=lambda each: each.name)
def test_the_real_check_accepts_every_revision(
    keys: Keys, tmp_path: Path, algorithm: Algorithm
) -> None:
    """Whatever is done to a repository, ``cvmfs_swissknife check`` finds nothing wrong."""
    origin = Origin(tmp_path, keys)
    origin.publish({}, PublicationOptions(packing=PackingOptions(algorithm)))
    for number, _ in enumerate(steps(origin)):
        check(origin, tmp_path / f"scratch{number}")
        assert origin.temporaries() == []
    assert origin.manifest.is_garbage_collectable


@needs("cvmfs_swissknife")
@needs("cvmfs2")
@needs_fuse
def test_the_real_pull_follows_every_revision(keys: Keys, tmp_path: Path) -> None:
    """``cvmfs_swissknife pull`` begins a replica of ours, continues it, and it mounts alike."""
    origin = Origin(tmp_path, keys)
    root, spool = tmp_path / "pulled" / origin.fqrn, tmp_path / "spool"
    for number, _ in enumerate(steps(origin)):
        with served(origin.storage) as url:
            stratum0 = f"{url}/cvmfs/{origin.fqrn}"
            pull = (origin.fqrn, stratum0, root, origin.master, spool)
            reference_pull(*pull, is_initial=number == 0)
    with client(origin, origin.storage, tmp_path / "a") as mount:
        published = seen_below(mount, is_source=False)
    with client(origin, root.parent, tmp_path / "b") as mount:
        assert seen_below(mount, is_source=False) == published
    assert b"/sw/b/deep/file" in published


# --- what the real publisher began ----------------------------------------------------------------


def continued(fixture_repository: Path, directory: Path, tree: str) -> Origin:
    """A copy of a revision of the real publisher's repository, with its keys."""
    origin = Origin(directory, Keys.from_fixture(), FIXTURE_NAME)
    shutil.copytree(fixture_repository / tree, origin.root)
    return origin


def catalogs(repository: Stratum0Repository) -> dict[bytes, ContentHash]:
    """Mount point → catalog, of what is published."""
    manifest = repository.manifest()
    assert manifest is not None
    found = {b"": manifest.root_catalog}
    waiting = dict(found)
    while waiting:
        mount, name = waiting.popitem()
        nested = read_catalog(repository.unpacked(name), mount, "a catalog").nested
        found |= nested
        waiting |= nested
    return found


@needs("cvmfs_swissknife")
@needs("cvmfs2")
@needs_fuse
@pytest.mark.parametrize("tree", ["rev5", "rev6", "rev8"])
def test_what_the_real_publisher_began_we_continue(
    fixture_repository: Path, tmp_path: Path, tree: str
) -> None:
    """One changed file rewrites its own catalog and those above; all else stays as it was."""
    origin = continued(fixture_repository, tmp_path, tree)
    mounts = catalogs(origin.repository)
    changed = max(mounts, key=lambda path: (path.count(b"/"), path))
    with client(origin, origin.storage, tmp_path / "a") as mount:
        subprocess.run(["cp", "-a", mount, tmp_path / "copy"], check=True)
    (tmp_path / "copy" / os.fsdecode(changed[1:]) / ".cvmfscatalog").write_text("not empty")
    report = origin.publish(tmp_path / "copy")
    check(origin, tmp_path / "scratch")
    now = catalogs(origin.repository)
    rewritten = {path for path, name in now.items() if mounts[path] != name}
    assert rewritten == {path for path in mounts if (changed + b"/").startswith(path + b"/")}
    assert (report.changes.added, report.changes.changed, report.changes.removed) == (0, 1, 0)
    with client(origin, origin.storage, tmp_path / "b") as mount:
        assert seen_below(mount, is_source=False) == seen_below(tmp_path / "copy", is_source=True)
