"""`snapshot --repair`: what an ordinary snapshot would never look at again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mirror.cvmfs.content_hash import ContentHash
from mirror.cvmfs.paths import object_path
from mirror.errors import ObjectMissing, SnapshotFailed, StoreFull
from mirror.events import RootSkipped
from mirror.replication import repairing
from mirror.replication.snapshot import SnapshotOptions
from mirror.store import local
from tests.support.loops import is_cancelled_at, run, without_threads
from tests.support.publisher import Repository
from tests.support.replicas import Mirror
from tests.support.trees import NEXT_TREE, TREE, numbered
from tests.support.watched import FullDisk, Operation, Recorder

Make = Callable[[Repository, Path], Mirror]


class Tree:
    """A replica's tree on disk after its first snapshot."""

    def __init__(self, mirror: Mirror) -> None:
        mirror.repository.publish(NEXT_TREE, tag="v1")
        mirror.snapshot()
        self.mirror = mirror
        self.revision = mirror.repository.revisions[-1]

    def file(self, path: str) -> Path:
        """An object's file."""
        return self.mirror.directory / "srv" / path

    def flip(self, path: str) -> None:
        """A disk that fails."""
        content = bytearray(self.file(path).read_bytes())
        content[len(content) // 2] ^= 1
        self.file(path).write_bytes(content)

    def path_of(self, content: bytes) -> str:
        """Where the object with this content lies."""
        return object_path(self.mirror.repository.add_object(content))

    def fetched(self) -> list[str]:
        """What was asked for below ``data/``."""
        return [path for path in self.mirror.stratum0.paths if path.startswith("data/")]


@pytest.fixture
def tree(mirror_on_disk: Mirror) -> Tree:
    """A sound one."""
    return Tree(mirror_on_disk)


def test_a_sound_replica_costs_no_object(tree: Tree) -> None:
    """Everything is read and nothing is fetched; not even a file is written below ``data/``."""
    tree.mirror.watch = recorder = Recorder()
    report = tree.mirror.snapshot(repairs=True)
    assert tree.fetched() == []
    assert recorder.names("commit") == []
    assert (report.stored_objects, report.was_current) == (0, False)
    tree.mirror.require_current()


def test_everything_that_is_wrong_is_replaced(tree: Tree) -> None:
    """A flipped bit in any object, of whatever kind, is found, and that object alone is fetched."""
    paths = sorted(tree.revision.paths)
    for path in paths:
        tree.flip(path)
    tree.mirror.snapshot(repairs=True)
    assert sorted(tree.fetched()) == paths
    tree.mirror.require_current()


def test_everything_that_is_missing_is_fetched(tree: Tree) -> None:
    """Also below a catalog that is there."""
    lost = [path for path in tree.revision.paths if not path.endswith("C")]
    for path in lost:
        tree.file(path).unlink()
    tree.mirror.snapshot(repairs=True)
    assert sorted(tree.fetched()) == sorted(lost)
    tree.mirror.require_current()


@pytest.mark.parametrize("content", [b"deeper", b"hello", b"", None], ids=str)
def test_one_thing_is_wrong(tree: Tree, content: bytes | None) -> None:
    """An ordinary snapshot trusts the catalogs that are here, and a repair does not."""
    roots = object_path(tree.revision.root)
    path = roots if content is None else tree.path_of(content)
    tree.file(path).write_bytes(b"torn")
    tree.mirror.snapshot()
    assert tree.fetched() == []
    tree.mirror.snapshot(repairs=True)
    assert tree.fetched() == [path]
    tree.mirror.require_current()


def test_tags_are_walked_too(tree: Tree) -> None:
    """What only a named revision needs is repaired as well."""
    tree.mirror.repository.publish(numbered(1))
    tree.mirror.snapshot()
    path = tree.path_of(b"deeper")
    tree.file(path).unlink()
    tree.mirror.snapshot(repairs=True)
    assert tree.fetched() == [path]
    tree.mirror.require_current()


def test_a_repair_brings_the_next_revision_too(tree: Tree) -> None:
    """It is a snapshot that believes nothing, not another kind of thing."""
    tree.file(tree.path_of(b"hello")).unlink()
    tree.mirror.repository.publish(TREE)
    assert tree.mirror.snapshot(repairs=True).revision == 3
    tree.mirror.require_current()


def test_a_repair_does_not_look_back(tree: Tree) -> None:
    """Predecessors are of no use to whoever has everything to fear for the present."""
    for number in (1, 2):
        tree.mirror.repository.publish(numbered(number))
    tree.mirror.snapshot(repairs=True)
    between = tree.mirror.repository.revisions[-2].root
    assert object_path(between) not in tree.fetched()


def test_what_cannot_be_repaired_is_told(tree: Tree) -> None:
    """The rest is repaired, and the tree above is not believed in any later repair either."""
    lost, other = tree.path_of(b"deeper"), tree.path_of(b"other")
    for path in (lost, other):
        tree.file(path).unlink()
    content = tree.mirror.repository.files.pop(lost)
    for _ in range(2):
        with pytest.raises(SnapshotFailed, match=lost):
            tree.mirror.snapshot(repairs=True)
    assert tree.file(other).exists()
    tree.mirror.repository.files[lost] = content
    tree.mirror.snapshot(repairs=True)
    tree.mirror.require_current()


@pytest.mark.parametrize("kind", ["object", "catalog"])
def test_a_new_tag_over_what_failed_is_not_committed(tree: Tree, kind: str) -> None:
    """What is missing in the head is missing for every tag that shares it."""
    repository = tree.mirror.repository
    repository.publish({**NEXT_TREE, "": {"README": b"tagged"}}, tag="v2")
    tagged = repository.revisions[-1].root
    repository.publish({**NEXT_TREE, "": {"README": b"head"}})
    nested = {p for p in tree.revision.paths if p.endswith("C")} - {object_path(tree.revision.root)}
    lost = {tree.path_of(b"deeper")} if kind == "object" else nested
    for path in lost:
        tree.file(path).unlink()
        repository.drop(path)
    with pytest.raises(SnapshotFailed):
        tree.mirror.snapshot(repairs=True)
    assert not tree.file(object_path(tagged)).exists()


def test_collected_tags_are_skipped(tree: Tree) -> None:
    """As by an ordinary snapshot."""
    repository = tree.mirror.repository
    root = object_path(repository.publish(numbered(1), tag="v2").root)
    repository.publish(numbered(2))
    repository.drop(root)
    tree.mirror.snapshot(repairs=True)
    assert [event.wanted_by for event in tree.mirror.heard(RootSkipped)] == ["tag v2"]


# --- nothing is left behind -----------------------------------------------------------------------


def big_catalog(mirror: Mirror) -> ContentHash:
    """The root catalog of a tree so wide that its bytes do not fit into memory on their way."""
    tree = {"": {f"file {number:05}": b"%d" % (number % 10) for number in range(6000)}}
    root = mirror.repository.publish(tree).root
    assert len(mirror.repository.files[object_path(root)]) > 200_000
    return root


def test_a_full_disk_while_reading_back(
    mirror_on_disk: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read back so far is forgotten, and its file closed."""
    monkeypatch.setattr(repairing, "_BLOCK_BYTES", 50_000)
    big_catalog(mirror_on_disk)
    mirror_on_disk.snapshot()
    before = len(list(Path("/proc/self/fd").iterdir()))
    mirror_on_disk.watch = FullDisk(190_000, notices_at="write")
    with pytest.raises(StoreFull):
        mirror_on_disk.snapshot(repairs=True)
    assert mirror_on_disk.leftovers() == []
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_an_object_that_vanishes_while_it_is_read_back(mirror: Mirror) -> None:
    """Another tool may remove it after we looked."""
    mirror.snapshot()
    root = object_path(mirror.repository.revisions[-1].root)

    class Vanishing(Recorder):
        """Takes the root catalog away when it is about to be opened."""

        def before(self, operation: Operation) -> None:
            """As `Watch.before`."""
            if str(operation) == f"open_object {root}":
                raise ObjectMissing(f"{root} is missing")

    mirror.watch = Vanishing()
    with pytest.raises(ObjectMissing):
        mirror.snapshot(repairs=True)
    assert mirror.leftovers() == []


@pytest.mark.parametrize("make", [Mirror.in_memory, Mirror.on_disk])
def test_cancelled_at_any_moment(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Make
) -> None:
    """No upload and no file stays open, whenever the repair is stopped."""
    without_threads(monkeypatch)
    monkeypatch.setattr(local, "syncfs", lambda _directory: None)  # it takes long
    mirror = make(repository, tmp_path)
    mirror.snapshot()
    repair = SnapshotOptions(repairs=True)

    async def main() -> None:
        turn = 0
        while await is_cancelled_at(turn, mirror.run_of(options=repair).run()):
            turn += 1

    run(main())
    mirror.require_current()
