"""A replica beside the Stratum 0 that it follows, both to hand.

    mirror = Mirror.in_memory(repository, tmp_path)      # or on_disk
    mirror.snapshot()
    mirror.stratum0.paths, mirror.events, mirror.objects()
    mirror.require_whole()

Each call runs in an event loop of its own, as each run of the command line does.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Self, TypeVar

from mirror.cvmfs.catalog import Catalog
from mirror.cvmfs.content_hash import ContentHash, Suffix
from mirror.cvmfs.paths import MANIFEST, MASTER_REPLICA, TEMPORARIES, parse_object_path
from mirror.events import Event
from mirror.replication.replica import Replica
from mirror.replication.snapshot import SnapshotOptions, SnapshotPlan, SnapshotReport, SnapshotRun
from mirror.replication.walk import Breadth
from mirror.store.base import ObjectStore
from mirror.store.local import LocalStore
from mirror.store.memory import MemoryStore
from mirror.upkeep.check import CheckReport, check_replica
from mirror.upstream.base import Upstream
from mirror.upstream.retrying import RetryPolicy
from mirror.upstream.sources import sources
from tests.support.clock import NOW, FakeClock
from tests.support.loops import run
from tests.support.publisher import Repository
from tests.support.simulated import SimulatedStratum0
from tests.support.watched import Watch, WatchedStore

E = TypeVar("E", bound=Event)


class Mirror:
    """A replica of a repository in memory.

    Attributes:
        repository: what is published; change it at will.
        stratum0: serves it, and remembers what was asked for.
        mirrors: that have it, too; put some in, and they are asked beside Stratum 0.
        directory: everything of the replica lies below.
        root: where its tree is, if its store is one.
        watch: sees what the next runs do to the store; None for nobody.
        events: what happened so far.
        breadth: how much is under way at once.
    """

    def __init__(
        self, repository: Repository, directory: Path, store: Callable[[], ObjectStore]
    ) -> None:
        self.repository = repository
        self.stratum0 = SimulatedStratum0(repository.files)
        self.mirrors: list[SimulatedStratum0] = []
        self.directory = directory
        self.root = directory / "srv"
        self.watch: Watch | None = None
        self.events: list[Event] = []
        self.breadth = Breadth()
        self._store = store

    @classmethod
    def in_memory(cls, repository: Repository, directory: Path) -> Self:
        """One whose store is a dictionary."""
        store = MemoryStore()
        return cls(repository, directory, lambda: store)

    @classmethod
    def on_disk(cls, repository: Repository, directory: Path) -> Self:
        """One whose store is the tree below ``directory / "srv"``."""
        return cls(repository, directory, lambda: LocalStore(directory / "srv"))

    @property
    def store(self) -> ObjectStore:
        """The store, and nobody watching."""
        return self._store()

    @property
    def spool(self) -> Path:
        """Where lock and checksum are."""
        return self.directory / "spool"

    @property
    def replica(self) -> Replica:
        """As `mirror.wiring` makes it."""
        store = self.store if self.watch is None else WatchedStore(self.store, self.watch)
        scratch = self.root / TEMPORARIES
        anchor, breadth = self.repository.anchor, self.breadth
        return Replica(anchor, store, self.spool, scratch, breadth=breadth)

    @property
    def upstream(self) -> Upstream:
        """Stratum 0, or all sources put together as `mirror.wiring` does it, but without pauses."""
        if not self.mirrors:
            return self.stratum0
        servers, policy = [self.stratum0, *self.mirrors], RetryPolicy(retries=1)
        sleep = FakeClock().sleep
        return sources(servers, policy, self.repository.fqrn, self.events.append, sleep)

    def add_mirror(self, files: Mapping[str, bytes] | None = None) -> SimulatedStratum0:
        """One that has these files, or all that are published at the moment; no sentinel."""
        held = dict(self.repository.files if files is None else files)
        held.pop(MASTER_REPLICA, None)
        mirror = SimulatedStratum0(held, f"simulated://mirror{len(self.mirrors) + 1}")
        self.mirrors.append(mirror)
        return mirror

    # --- doing --------------------------------------------------------------------------------

    def run_of(self, now: datetime = NOW, options: SnapshotOptions | None = None) -> SnapshotRun:
        """A run that was not started."""
        return SnapshotRun(self.replica, self.upstream, now, self.events.append, options)

    def snapshot(self, now: datetime = NOW, *, repairs: bool = False) -> SnapshotReport:
        """Take one, and forget what was asked for before."""
        for server in (self.stratum0, *self.mirrors):
            server.requests.clear()
        return run(self.run_of(now, SnapshotOptions(repairs=repairs)).run())

    def plan(self, now: datetime = NOW) -> SnapshotPlan:
        """Say what one would do."""
        return run(self.run_of(now).plan())

    def check(self, now: datetime = NOW, *, full: bool = True) -> CheckReport:
        """Look whether everything is there."""
        return run(check_replica(self.replica, now, full=full, progress=lambda _report: None))

    # --- looking ------------------------------------------------------------------------------

    def root_file(self, name: str) -> bytes | None:
        """A root file of the store."""
        return run(self.store.read_root_file(name, 1024 * 1024))

    def heard(self, kind: type[E]) -> list[E]:
        """The events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]

    def require_whole(self) -> int:
        """A manifest is served, and everything below it is sound; returns its revision."""
        report = self.check()
        assert not report.damage
        assert report.revision is not None
        return report.revision

    def require_current(self) -> None:
        """The same, and it is the one that is published, with nothing left lying about."""
        self.require_whole()
        assert self.root_file(MANIFEST) == self.repository.files[MANIFEST]
        assert self.leftovers() == []

    def objects(self) -> dict[ContentHash, bytes]:
        """Everything that is under an object's name, whatever it is."""
        store = self.store
        if isinstance(store, MemoryStore):
            return store.objects
        return {
            parse_object_path(f"data/{file.parent.name}/{file.name}"): file.read_bytes()
            for file in (self.root / "data").glob("[0-9a-f][0-9a-f]/*")
        }

    def require_lawful(self) -> None:
        """All that is visible is whole, and a catalog proves its tree, served or not."""
        objects = self.objects()
        for name, stored in objects.items():
            assert ContentHash.of(name.algorithm, stored, name.suffix) == name
            if name.suffix is Suffix.CATALOG:
                assert _wanted_by(stored) <= objects.keys()

    def leftovers(self) -> list[str]:
        """Temporary files, or uploads that were neither committed nor aborted."""
        if isinstance(self.store, MemoryStore):
            return ["an upload"] * self.store.open_uploads
        return sorted(path.name for path in (self.root / TEMPORARIES).iterdir())


def _wanted_by(stored: bytes) -> set[ContentHash]:
    with Catalog(zlib.decompress(stored), "", "a stored catalog") as catalog:
        nested = {ref.hash for ref in catalog.nested_catalogs()}
        return nested | {ref.hash for ref in catalog.objects()}
