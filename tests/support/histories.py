"""A repository with a history, a replica that follows it, and the model that knows what is due.

    history = History(directory, settings)
    history.publish(source, base=b"", …)     # and tag, untag, collect, resign
    history.require_everything()             # origin, replica, every tag

Each operation changes the model as it must change the repository; `require_everything` compares.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from mirror.cvmfs.content_hash import Algorithm
from mirror.cvmfs.fqrn import Fqrn
from mirror.cvmfs.manifest import Manifest
from mirror.replication.replica import Replica
from mirror.replication.snapshot import SnapshotRun
from mirror.store.local import LocalStore
from mirror.stratum0.chunking import ChunkSizes
from mirror.stratum0.collection import plan_collection, sweep
from mirror.stratum0.keys import PublisherKeys
from mirror.stratum0.packer import PackingOptions
from mirror.stratum0.publishing import (
    Publication,
    PublicationOptions,
    PublicationReport,
)
from mirror.stratum0.repository import Stratum0Repository
from mirror.stratum0.retagging import retag
from mirror.stratum0.source import Source
from mirror.trust.master_keys import MasterKeys
from mirror.trust.trusted_ensemble import TrustAnchor
from mirror.upkeep.check import check_replica
from tests.support.loops import run
from tests.support.model import (
    UNKNOWN,
    Node,
    Revision,
    Tree,
    canonical,
    expected_mounts,
    read_revision,
    read_tags,
    require_same,
)
from tests.support.reachable import reachable_objects
from tests.support.simulated import SimulatedStratum0

FQRN: Final = Fqrn("history.example.org")
SIZES: Final = ChunkSizes(smallest=512, average=1024, largest=2048)
"""So small that a file of some thousand bytes is cut."""

_MOVING: Final = frozenset({"trunk", "trunk-previous"})


@dataclass(frozen=True, slots=True)
class Settings:
    """What stays the same throughout a history.

    Attributes:
        algorithm: names objects.
        is_packed: whether contents are compressed.
        largest_catalog: entries of one catalog.
        is_garbage_collectable: whether collecting is allowed.
    """

    algorithm: Algorithm = Algorithm.SHA1
    is_packed: bool = True
    largest_catalog: int = 200_000
    is_garbage_collectable: bool = True


class Files(Mapping[str, bytes]):
    """The files below a directory by path: an origin for `SimulatedStratum0`."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def __getitem__(self, path: str) -> bytes:
        try:
            return (self._root / path).read_bytes()
        except OSError:
            raise KeyError(path) from None

    def __iter__(self) -> Iterator[str]:
        files = (path for path in self._root.rglob("*") if path.is_file())
        return (str(path.relative_to(self._root)) for path in files)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def objects(self) -> set[str]:
        """Paths of all objects, and of whatever else lies below ``data``."""
        return {path for path in self if path.startswith("data/")}


@functools.cache
def publisher_keys() -> PublisherKeys:
    """One publisher's keys, for all histories."""
    return PublisherKeys.generate(FQRN)


@dataclass(slots=True)
class Tagged:
    """A revision that has a name."""

    tree: Tree
    revision: int


@dataclass(slots=True)
class History:
    """One repository from its first revision on.

    Attributes:
        directory: everything lies below.
        settings: what does not change.
        head: what the newest revision must contain.
        revision: its number, 0 before the first.
        tags: what every tag must contain.
        is_consistent: whether the last operation was done, and all of it was found right.
    """

    directory: Path
    settings: Settings
    head: Tree = field(default_factory=dict)
    revision: int = 0
    tags: dict[str, Tagged] = field(default_factory=dict)
    is_consistent: bool = False

    @property
    def repository(self) -> Stratum0Repository:
        """The repository, as each run of the command line opens it."""
        return Stratum0Repository(self.directory / "origin", FQRN)

    @property
    def origin(self) -> Path:
        """Its tree."""
        return self.directory / "origin" / FQRN.name

    @property
    def manifest(self) -> Manifest:
        """What is published."""
        manifest = self.repository.manifest()
        assert manifest is not None
        return manifest

    @property
    def named(self) -> list[str]:
        """Tags that an operator may remove, oldest first."""
        return [name for name in self.tags if name not in _MOVING]

    # --- doing ------------------------------------------------------------------------------------

    def publish(
        self, source: Source, after: Tree, options: PublicationOptions
    ) -> PublicationReport:
        """Publish; ``after`` is what must be there then."""
        self.is_consistent = False
        repository, keys = self.repository, publisher_keys()
        with repository.locked():
            report = Publication(repository, keys, options, lambda _entries, _bytes: None).run(
                source
            )
        is_known = not any(node.mtime == UNKNOWN for node in after.values())
        if self.revision and is_known and not options.deletes and options.tag is None:
            assert report.was_unchanged == (canonical(after) == canonical(self.head))
        if not report.was_unchanged:
            self._note(after, report, options.tag)
        assert report.revision == self.revision
        return report

    def options(
        self,
        base: bytes = b"",
        *,
        overlays: bool = False,
        deletes: tuple[bytes, ...] = (),
        tag: str | None = None,
    ) -> PublicationOptions:
        """Options that fit the settings."""
        mine = self.settings
        return PublicationOptions(
            base=base,
            overlays=overlays,
            deletes=deletes,
            tag=tag,
            packing=PackingOptions(mine.algorithm, mine.is_packed, SIZES),
            is_garbage_collectable=mine.is_garbage_collectable,
            largest_catalog=mine.largest_catalog,
        )

    def tag(self, name: str) -> None:
        """Name the head."""
        repository = self.repository
        with repository.locked():
            retag(repository, publisher_keys(), add=(name, "by hand"))
        self.tags[name] = Tagged(self.head, self.revision)

    def untag(self, name: str) -> None:
        """Forget a name."""
        repository = self.repository
        with repository.locked():
            retag(repository, publisher_keys(), remove=(name,))
        del self.tags[name]

    def collect(self) -> None:
        """Sweep all that neither head nor tag reaches; what is left is exactly what they reach."""
        repository = self.repository
        with repository.locked():
            plan = plan_collection(repository, self.manifest, self.manifest.published_at + 1)
            sweep(repository, plan)
        assert Files(self.origin).objects() == reachable_objects(self.origin)

    def resign(self) -> None:
        """Renew the whitelist."""
        repository = self.repository
        with repository.locked():
            repository.renew_whitelist(publisher_keys(), self.settings.algorithm, 30)

    # --- comparing --------------------------------------------------------------------------------

    def require_everything(self, replica: str = "replica") -> None:
        """A snapshot into this replica succeeds; it is sound and holds what it must."""
        self.is_consistent = False
        where = self.directory / replica / FQRN.name
        subject = Replica(
            TrustAnchor(
                FQRN, MasterKeys.from_pem([publisher_keys().master_public_pem], "the publisher")
            ),
            LocalStore(where),
            self.directory / "spool" / replica,
            where / "data" / "txn",
        )
        now = datetime.now(UTC)
        upstream = SimulatedStratum0(Files(self.origin))
        run(SnapshotRun(subject, upstream, now, lambda _event: None).run())
        report = run(check_replica(subject, now, full=True, progress=lambda _report: None))
        assert not report.damage
        for tree in (self.origin, where):
            assert not list((tree / "data" / "txn").iterdir())
        self._require_contents(Files(where))
        self.is_consistent = True

    def _require_contents(self, files: Files) -> None:
        manifest = Manifest.parse(files[".cvmfspublished"])
        assert manifest.raw == self.manifest.raw
        assert manifest.history is not None
        tags = read_tags(files.__getitem__, manifest.history.text)
        assert {name: number for name, (_, number) in tags.items()} == {
            name: tagged.revision for name, tagged in self.tags.items()
        }
        roots = {name: root for name, (root, _) in tags.items()}
        read: dict[str, Revision] = {}
        for name, tagged in self.tags.items():
            root = roots[name]
            if root not in read:
                read[root] = read_revision(files.__getitem__, root)
            require_same(read[root], tagged.tree)
        assert manifest.root_catalog.text == roots["trunk"]
        self._require_mounts(read[roots["trunk"]])

    def _require_mounts(self, revision: Revision) -> None:
        """Catalogs begin where somebody asked for one, and where one would be too large."""
        wanted, largest = expected_mounts(self.head), self.settings.largest_catalog
        if len(self.head) <= largest:
            assert revision.mounts.keys() == wanted
        assert wanted <= revision.mounts.keys()
        parents = {path.rpartition(b"/")[0] for path in self.head if path}
        for mount, paths in revision.mounts.items():
            if len(paths) - 1 > largest:
                inner = paths - {mount} - revision.mounts.keys()
                assert not any(self.head[path].is_directory and path in parents for path in inner)

    # --- the model --------------------------------------------------------------------------------

    def _note(self, after: Tree, report: PublicationReport, tag: str | None) -> None:
        """What was published is the head now, and has a name."""
        is_new = report.revision != self.revision
        after = self._with_times(after, report) if is_new else self.head
        self.revision += is_new
        if is_new and self.tags:
            self.tags["trunk-previous"] = self.tags["trunk"]
        self.head = after
        self.tags["trunk"] = Tagged(after, self.revision)
        self.tags[tag or self._automatic_tag()] = Tagged(after, self.revision)

    def _automatic_tag(self) -> str:
        """The name that the publisher chose."""
        history = self.manifest.history
        assert history is not None
        tags = read_tags(Files(self.origin).__getitem__, history.text)
        (name,) = tags.keys() - self.tags.keys()
        assert name.startswith("generic")
        return name

    def _with_times(self, after: Tree, report: PublicationReport) -> dict[bytes, Node]:
        """The times that only the publisher knows, of directories that it made."""
        unknown = [path for path, node in after.items() if node.mtime == UNKNOWN]
        if not unknown:
            return dict(after)
        revision = read_revision(Files(self.origin).__getitem__, report.root.text)
        return {**after, **{path: revision.tree[path] for path in unknown}}
