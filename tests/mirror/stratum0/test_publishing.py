"""The flow: what is published, what stays, what is refused."""

from __future__ import annotations

import io
import tarfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mirror.errors import ConfigError, FormatError
from mirror.stratum0 import publishing
from mirror.stratum0.entry import Attributes
from mirror.stratum0.packer import PackingOptions
from mirror.stratum0.publishing import PublicationOptions
from mirror.stratum0.repository import now_after
from mirror.stratum0.retagging import retag
from mirror.stratum0.source import SourceEntry, TarSource
from mirror.stratum0.tags import Tags
from tests.support.keys import Keys
from tests.support.origin import Origin, file_entry
from tests.support.reachable import reachable_objects
from tests.support.recorded import catalogs, rebuild


@pytest.fixture
def origin(keys: Keys, tmp_path: Path) -> Origin:
    """With a few files."""
    origin = Origin(tmp_path, keys)
    origin.publish({b"/a/x": b"1", b"/a/y": b"2", b"/a-b": b"3", b"/c": b"4"})
    return origin


def contents(origin: Origin, tmp_path: Path) -> dict[str, str]:
    """Files and what is in them, by somebody else's reading."""
    target = tmp_path / f"rebuilt{origin.manifest.revision}.{time.monotonic_ns()}"
    rebuild(origin.root, target)
    files = [path for path in target.rglob("*") if path.is_file()]
    return {str(path.relative_to(target)): path.read_text() for path in files}


def tags(origin: Origin) -> Tags:
    """Those of what is published."""
    return origin.repository.tags(origin.manifest)


def test_the_content_replaces_what_was_there(origin: Origin, tmp_path: Path) -> None:
    """What the source does not have is gone."""
    report = origin.publish({b"/a/x": b"1", b"/new": b"5"})
    assert contents(origin, tmp_path) == {"a/x": "1", "new": "5"}
    changes = report.changes
    assert (report.revision, changes.added, changes.changed, changes.removed) == (2, 1, 0, 3)


def test_below_a_base_nothing_else_is_touched(origin: Origin, tmp_path: Path) -> None:
    """Not ``/a-b``, which begins alike; and directories on the way are made."""
    origin.publish({b"/z": b"5"}, PublicationOptions(base=b"/a"))
    origin.publish({b"/z": b"6"}, PublicationOptions(base=b"/new/deep/base"))
    found = contents(origin, tmp_path)
    assert found == {"a/z": "5", "a-b": "3", "c": "4", "new/deep/base/z": "6"}


def test_an_overlay_adds(origin: Origin, tmp_path: Path) -> None:
    """What the source has replaces its like; all else stays."""
    origin.publish({b"/x": b"9", b"/z": b"5"}, PublicationOptions(base=b"/a", overlays=True))
    found = contents(origin, tmp_path)
    assert found == {"a/x": "9", "a/y": "2", "a/z": "5", "a-b": "3", "c": "4"}


def test_paths_are_removed_first(origin: Origin, tmp_path: Path) -> None:
    """Files and whole directories; what the source brings anew is there."""
    options = PublicationOptions(overlays=True, deletes=(b"/a", b"/c"))
    report = origin.publish({b"/a/new": b"n", b"/c": b"4"}, options)
    assert contents(origin, tmp_path) == {"a/new": "n", "a-b": "3", "c": "4"}
    assert report.changes.removed == 2


@pytest.mark.parametrize("path", [b"/none", b"", b"/a/x/y", b"/a/"])
def test_what_is_not_there_cannot_be_removed(origin: Origin, path: bytes) -> None:
    """A slip of the keyboard publishes nothing."""
    with pytest.raises(ConfigError, match="--delete"):
        origin.publish({}, PublicationOptions(overlays=True, deletes=(path,)))
    assert origin.manifest.revision == 1


def test_a_base_below_a_file_is_refused(origin: Origin) -> None:
    """Files are not made directories on the way."""
    with pytest.raises(ConfigError, match="/c is no directory"):
        origin.publish({}, PublicationOptions(base=b"/c/d"))


def test_unchanged_content_publishes_nothing(origin: Origin) -> None:
    """The manifest is the same to the byte, and no object is new."""
    before = (origin.root / ".cvmfspublished").read_bytes(), origin.objects()
    report = origin.publish({b"/a/x": b"1", b"/a/y": b"2", b"/a-b": b"3", b"/c": b"4"})
    assert report.was_unchanged
    assert ((origin.root / ".cvmfspublished").read_bytes(), origin.objects()) == before


def test_hard_links_below_a_base_are_unchanged_too(origin: Origin) -> None:
    """Their group is named by where it is published, not by where it came from."""

    class Linked:
        def entries(self) -> Iterator[SourceEntry]:
            yield file_entry(b"", None)
            for path in (b"/one", b"/two"):
                yield replace(file_entry(path, b"same"), links=b"/one")

    options = PublicationOptions(base=b"/links")
    assert origin.publish(Linked(), options).changes.added == 3
    assert origin.publish(Linked(), options).was_unchanged


def test_a_tag_alone_is_signed_without_a_new_revision(origin: Origin) -> None:
    """Same root, same number, a later timestamp."""
    before = origin.manifest
    report = origin.publish({b"/c": b"4"}, PublicationOptions(overlays=True, tag="v1"))
    assert (report.revision, report.root) == (1, before.root_catalog)
    assert not report.was_unchanged
    assert {row.name for row in tags(origin).rows} >= {"v1", "trunk"}


@pytest.mark.parametrize("collects", [True, False])
def test_whether_garbage_is_collected_is_signed(origin: Origin, *, collects: bool) -> None:
    """The content may be what it was; tags stay, and silence keeps it as it is."""
    before = tags(origin).rows
    content: dict[bytes, bytes | None] = {b"/c": b"4"}
    for wish in (not collects, collects, None):
        options = PublicationOptions(overlays=True, is_garbage_collectable=wish)
        origin.publish(content, options)
    assert origin.manifest.is_garbage_collectable is collects
    assert (tags(origin).rows, origin.manifest.revision) == (before, 1)


def test_a_taken_tag_publishes_nothing(origin: Origin) -> None:
    """Nor does one that is no name."""
    origin.publish({b"/c": b"5"}, PublicationOptions(tag="v1"))
    for name in ("v1", "no name", "trunk"):
        with pytest.raises(ConfigError):
            origin.publish({b"/c": b"6"}, PublicationOptions(tag=name))
    assert origin.manifest.revision == 2
    assert reachable_objects(origin.root) <= origin.objects()


def test_timestamps_never_go_back(origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that was set back is not believed: clients would stay where they are."""
    before = origin.manifest.published_at
    assert before is not None
    monkeypatch.setattr("mirror.stratum0.repository.time.time", lambda: 1000.0)
    origin.publish({b"/c": b"5"})
    assert origin.manifest.published_at == before
    retagged = retag(origin.repository, origin.keys, add=("v1", ""))
    assert retagged.published_at == before
    assert now_after(None) == 1000


def test_the_first_hash_algorithm_stays(origin: Origin) -> None:
    """A repository has one, whatever a later publication asks for."""
    algorithm = origin.manifest.root_catalog.algorithm
    other = next(each for each in type(algorithm) if each != algorithm)
    origin.publish({b"/c": b"5"}, PublicationOptions(packing=PackingOptions(other)))
    assert origin.manifest.root_catalog.algorithm == algorithm


def test_tags_need_something_to_name(keys: Keys, tmp_path: Path) -> None:
    """Before the first publication there is nothing."""
    origin = Origin(tmp_path, keys)
    with pytest.raises(ConfigError, match="nothing is published yet"):
        retag(origin.repository, origin.keys, add=("v1", ""))


def test_an_error_of_the_source_leaves_the_old_revision(origin: Origin) -> None:
    """Half a tree is never published, and nothing hidden stays behind."""

    class Broken:
        def entries(self) -> Iterator[SourceEntry]:
            yield file_entry(b"", None)
            yield file_entry(b"/new", b"new")
            raise FormatError("broken")

    before = (origin.root / ".cvmfspublished").read_bytes(), origin.objects()
    with pytest.raises(FormatError):
        origin.publish(Broken())
    assert ((origin.root / ".cvmfspublished").read_bytes(), origin.objects()) == before
    assert origin.temporaries() == []


def tarball(*members: tuple[str, bytes, str]) -> TarSource:
    """Name, kind and target of each."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, kind, target in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            tar.addfile(info)
    buffer.seek(0)
    return TarSource(buffer, "x.tar")


def test_a_tarball_again_is_unchanged(origin: Origin) -> None:
    """With its own root, with links in an order of their own, without parents."""
    link = tarfile.LNKTYPE
    members = [("./", tarfile.DIRTYPE, ""), ("z/b", tarfile.REGTYPE, ""), ("z/a", link, "z/b")]
    assert not origin.publish(tarball(*members)).was_unchanged
    assert origin.publish(tarball(*members)).was_unchanged


def test_a_link_to_what_is_not_there_is_refused(origin: Origin) -> None:
    """Its content is nowhere."""
    with pytest.raises(ConfigError, match="is a hard link to b'/nowhere', not there"):
        origin.publish(tarball(("a", tarfile.LNKTYPE, "nowhere")))


def test_directories_that_are_not_mentioned_stay_as_they_are(origin: Origin) -> None:
    """An overlay without them does not reset their mode."""

    class Directory:
        def entries(self) -> Iterator[SourceEntry]:
            yield SourceEntry(b"", Attributes(0o40700, 5, 6, 7))

    origin.publish(Directory(), PublicationOptions(base=b"/a", overlays=True))
    origin.publish(tarball(("a/new", tarfile.REGTYPE, "")), PublicationOptions(overlays=True))
    report = origin.publish(Directory(), PublicationOptions(base=b"/a", overlays=True))
    assert report.was_unchanged


def test_catalogs_are_split_by_size(origin: Origin) -> None:
    """Where the limit says."""
    tree: dict[bytes, bytes | None] = {b"/d%d/%d" % (n % 3, n): b"" for n in range(30)}
    origin.publish(tree, PublicationOptions(largest_catalog=15))
    assert len(catalogs(origin.root)) == 3
    origin.publish(tree | {b"/new": b""}, PublicationOptions(largest_catalog=200))
    assert catalogs(origin.root).keys() == {b""}


def test_progress_is_told(keys: Keys, tmp_path: Path) -> None:
    """Entries and bytes so far, entry by entry."""
    origin = Origin(tmp_path, keys)
    heard: list[tuple[int, int]] = []
    with origin.repository.locked():
        publication = publishing.Publication(
            *(origin.repository, origin.keys, PublicationOptions()),
            lambda entries, size_bytes: heard.append((entries, size_bytes)),
        )
        publication.run(tarball(("a", tarfile.REGTYPE, ""), ("b", tarfile.REGTYPE, "")))
    assert heard == [(1, 0), (2, 0), (3, 0)]
