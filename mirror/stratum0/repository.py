"""One repository on disk: what is published now, and putting the next revision in its place.

    <into>/<fqrn>/    the tree drawn in `mirror.cvmfs.paths`, with ``.cvmfs_master_replica``

Everything a revision needs is on the disk before its manifest is; until that one rename the old
revision stands, complete. A lock keeps publications and collections of one repository apart.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from mirror.cvmfs.compression import decompress
from mirror.cvmfs.content_hash import Algorithm, ContentHash, Suffix
from mirror.cvmfs.fqrn import Fqrn
from mirror.cvmfs.limits import Limits
from mirror.cvmfs.manifest import ROOT_PATH_MD5, Manifest
from mirror.cvmfs.paths import MANIFEST, MASTER_REPLICA, REFLOG, WHITELIST
from mirror.cvmfs.reflog import Reflog
from mirror.cvmfs.whitelist import Whitelist
from mirror.errors import ConfigError, FormatError, StoreUnavailable
from mirror.replication.lock import replica_lock
from mirror.store.local import LocalStore
from mirror.stratum0.keys import WHITELIST_DAYS, PublisherKeys
from mirror.stratum0.tags import Tags

_TTL_S: Final = 240
_OTHER_KEYS: Final = "was made with other keys than these; name the right --keys"
_META_INFO: Final = {
    "administrator": "",
    "email": "",
    "organisation": "",
    "description": "",
    "url": "",
    "recommended-stratum0": "",
    "recommended-stratum1s": [],
    "custom": {},
}


@dataclass(frozen=True, slots=True)
class Head:
    """What is published, or is to be.

    Attributes:
        root: the root catalog.
        root_bytes: of that, unpacked.
        revision: its number.
        timestamp: when, Unix time.
        is_garbage_collectable: whether old revisions may be swept.
    """

    root: ContentHash
    root_bytes: int
    revision: int
    timestamp: int
    is_garbage_collectable: bool


class Stratum0Repository:
    """A repository below a storage directory; everything here blocks."""

    def __init__(self, into: Path, fqrn: Fqrn, limits: Limits | None = None) -> None:
        """Point at it; nothing is read yet."""
        self.fqrn = fqrn
        self.store = LocalStore(into / fqrn.name)
        self._limits = limits or Limits()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other writers out.

        Raises:
            Locked: one is at work.
        """
        with replica_lock(self.store.root):
            self.store.prepare_now()
            yield

    # --- what is there ----------------------------------------------------------------------------

    def manifest(self) -> Manifest | None:
        """What is published; None for nothing yet.

        Raises:
            StoreUnavailable: it cannot be read.
        """
        raw = self._root_file(MANIFEST)
        try:
            return Manifest.parse(raw) if raw is not None else None
        except FormatError as error:
            raise StoreUnavailable(f"{self.store.root / MANIFEST} is damaged: {error}") from error

    def tags(self, manifest: Manifest | None) -> Tags:
        """The tags of what is published."""
        if manifest is None or manifest.history is None:
            return Tags()
        return Tags.read(self.unpacked(manifest.history, self._limits.history_bytes), self.fqrn)

    def reflog(self) -> Reflog:
        """Every root published and not collected yet."""
        raw = self._root_file(REFLOG)
        return Reflog.parse(raw, self.fqrn) if raw is not None else Reflog.empty(self.fqrn)

    def unpacked(self, name: ContentHash, max_bytes: int | None = None) -> bytes:
        """An object's content.

        Raises:
            ObjectMissing: it is not there.
            FormatError: it does not unpack.
        """
        with self.store.open_object(name) as file:
            packed = file.read()
        return decompress(packed, max_bytes or self._limits.catalog_bytes, f"the object {name}")

    def whitelist_expiry(self) -> datetime | None:
        """When the whitelist ends; None if there is none."""
        whitelist = self._whitelist()
        return whitelist.expires_at if whitelist else None

    def require_certificate(self, keys: PublisherKeys) -> None:
        """Clients refuse what is signed by a certificate that the whitelist does not list.

        Raises:
            ConfigError: these keys are not the ones that the repository was begun with.
        """
        whitelist = self._whitelist()
        if whitelist and not whitelist.fingerprints & keys.fingerprints:
            raise ConfigError([f"{self.store.root / WHITELIST} {_OTHER_KEYS}"])

    def require_master(self, keys: PublisherKeys) -> None:
        """Clients refuse a whitelist that another master key signed.

        Raises:
            ConfigError: this master key is not the one that signed the whitelist there is.
        """
        whitelist = self._whitelist()
        if whitelist and not keys.has_signed(whitelist.letter):
            way_out = (
                "if the master key was lost or replaced, move this file away, run resign, and "
                f"give mirrors and clients the new {self.fqrn}.pub"
            )
            raise ConfigError([f"{self.store.root / WHITELIST} {_OTHER_KEYS}; {way_out}"])

    # --- what comes next --------------------------------------------------------------------------

    def publish(
        self,
        head: Head,
        tags: Tags,
        keys: PublisherKeys,
        store: Callable[[bytes, Suffix], ContentHash],
        settle: Callable[[], None],
    ) -> Manifest:
        """Put a revision before the world; its catalogs and objects are stored already.

        Args:
            head: what is new.
            tags: all of them, the head's included.
            keys: sign it.
            store: keeps an object packed.
            settle: makes what was stored visible and durable.
        """
        self.require_certificate(keys)
        before = self.manifest()
        algorithm = head.root.algorithm
        history = store(
            tags.serialize(self.fqrn, before.history if before else None), Suffix.HISTORY
        )
        certificate = store(keys.certificate, Suffix.CERTIFICATE)
        meta_info = before.meta_info if before else None
        if meta_info is None:
            meta_info = store(json.dumps(_META_INFO, indent=2).encode(), Suffix.META_INFO)
        settle()
        others = (history, certificate, meta_info)
        raw_reflog = self.save_reflog(self.reflog().with_added([head.root], others, head.timestamp))
        if self._root_file(WHITELIST) is None:
            self.renew_whitelist(keys, algorithm, WHITELIST_DAYS)
        if self._root_file(MASTER_REPLICA) is None:
            self.store.write_root_file_now(MASTER_REPLICA, b"")
        fields = [
            ("C", head.root.text),
            ("B", str(head.root_bytes)),
            ("R", ROOT_PATH_MD5),
            ("D", str(_TTL_S)),
            ("S", str(head.revision)),
            ("G", "yes" if head.is_garbage_collectable else "no"),
            ("A", "no"),
            ("N", self.fqrn.name),
            ("X", certificate.text),
            ("H", history.text),
            ("T", str(head.timestamp)),
            ("M", meta_info.text),
            ("Y", ContentHash.of(algorithm, raw_reflog).text),
        ]
        raw = keys.sign_manifest(fields, algorithm)
        self.store.write_root_file_now(MANIFEST, raw)
        return Manifest.parse(raw)

    def save_reflog(self, reflog: Reflog) -> bytes:
        """Replace the reflog; returns the file."""
        raw = reflog.serialize()
        self.store.write_root_file_now(REFLOG, raw)
        return raw

    def renew_whitelist(self, keys: PublisherKeys, algorithm: Algorithm, days: int) -> datetime:
        """Sign a new whitelist, valid for so many days from now; returns when it ends.

        Raises:
            ConfigError: the one there is was signed by another master key.
        """
        self.require_master(keys)
        raw = keys.sign_whitelist(self.fqrn, datetime.now(UTC), algorithm, days)
        self.store.write_root_file_now(WHITELIST, raw)
        return Whitelist.parse(raw).expires_at

    def _whitelist(self) -> Whitelist | None:
        raw = self._root_file(WHITELIST)
        return Whitelist.parse(raw) if raw is not None else None

    def _root_file(self, name: str) -> bytes | None:
        return self.store.read_root_file_now(name, self._limits.reflog_bytes)


def now_after(manifest: Manifest | None) -> int:
    """The clock, but never before what is published: clients would not follow."""
    return max(int(time.time()), manifest.published_at if manifest else 0)
