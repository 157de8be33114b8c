"""One replica as configured: long-lived and immutable; runs, checks and status start from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from mirror.cvmfs.fqrn import Fqrn
from mirror.cvmfs.limits import Limits
from mirror.cvmfs.manifest import Manifest
from mirror.cvmfs.paths import MANIFEST
from mirror.errors import FormatError, StoreUnavailable
from mirror.replication.walk import Breadth
from mirror.store.base import ObjectReader, ObjectStore
from mirror.trust.trusted_ensemble import TrustAnchor


@dataclass(frozen=True, slots=True)
class Replica:
    """What does not change from one snapshot to the next.

    Attributes:
        anchor: name, master keys, blacklist.
        store: where it is kept.
        spool: for the lock and the reflog's checksum, shared with cvmfs_server.
        scratch: for catalogs too large for memory while they are read.
        predecessor_days: roots that were replaced longer ago than this are not fetched, where the
            origin collects garbage.
        limits: of everything read.
        breadth: how much is under way at once.
    """

    anchor: TrustAnchor
    store: ObjectStore
    spool: Path
    scratch: Path
    predecessor_days: int = 3
    limits: Limits = field(default_factory=Limits)
    breadth: Breadth = field(default_factory=Breadth)

    @property
    def fqrn(self) -> Fqrn:
        """Which repository."""
        return self.anchor.fqrn


async def served_manifest(store: ObjectReader, limits: Limits) -> Manifest | None:
    """The manifest clients get now; None before the first snapshot.

    Raises:
        StoreUnavailable: there is one that cannot be read, so nobody knows what we serve.
    """
    try:
        raw = await store.read_root_file(MANIFEST, limits.letter_bytes)
        return Manifest.parse(raw) if raw is not None else None
    except FormatError as error:
        raise StoreUnavailable(
            f"the replica's own {MANIFEST} is damaged ({error}); move it away and run the "
            "snapshot again: no object will be fetched twice"
        ) from error
