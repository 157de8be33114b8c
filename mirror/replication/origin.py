"""What a run asks its origin for beside the trees: root files, certificate, history, meta info.

Root files are fetched past all caches: those keep them for a minute, and a push comes at once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from mirror.cvmfs.compression import decompress
from mirror.cvmfs.content_hash import ContentHash, Suffix
from mirror.cvmfs.fqrn import Fqrn
from mirror.cvmfs.history import Tag, read_history
from mirror.cvmfs.limits import Limits
from mirror.cvmfs.manifest import Manifest
from mirror.cvmfs.paths import (
    MANIFEST,
    MASTER_REPLICA,
    WHITELIST,
    alternative_path,
    object_path,
)
from mirror.errors import CertificateNotListed, Corrupted, NotFound, Refused, WhitelistExpired
from mirror.replication.meanwhile import meanwhile
from mirror.replication.transfer import fetch_verified
from mirror.store.base import ObjectReader, ObjectStore, Upload
from mirror.store.threads import in_thread
from mirror.trust.trusted_ensemble import Ensemble, TrustAnchor, TrustedEnsemble
from mirror.upstream.base import Body, Request, Upstream, read_all


@dataclass(frozen=True, slots=True)
class Named:
    """The two databases that a manifest names, verified and not committed.

    Attributes:
        history: None if it is in the store already, or there is none.
        meta_info: likewise.
    """

    history: Upload | None
    meta_info: Upload | None


class Origin:
    """One repository upstream, and what of it is here already."""

    def __init__(self, upstream: Upstream, here: ObjectReader, limits: Limits) -> None:
        """Ask ``upstream``, unless ``here`` knows; read no more than ``limits``."""
        self._upstream = upstream
        self._here = here
        self._limits = limits

    async def require_replica_permission(self) -> None:
        """Look for the sentinel that says a repository may be replicated from there.

        Raises:
            Refused: there is none.
        """
        try:
            await self.root_file(MASTER_REPLICA)
        except NotFound as error:
            raise Refused(
                f"{self._upstream.source} does not offer this repository for replication: it has "
                f"no {MASTER_REPLICA}; check the URL, or ask its operator to create that file"
            ) from error

    async def accept_ensemble(
        self, anchor: TrustAnchor, now: datetime, served: Manifest | None
    ) -> Ensemble:
        """Manifest, certificate and whitelist, in the order that trust demands.

        The whitelist is on its way from the beginning. Where it speaks against the manifest it is
        asked for once more: it may be the older of the two.

        Raises:
            UpstreamError, TrustError, FormatError: why they cannot be had or believed.
        """
        trusted = TrustedEnsemble(anchor, now, served=served, limits=self._limits)
        async with meanwhile(self.root_file(WHITELIST)) as whitelist:
            raw_manifest = await self.root_file(MANIFEST)
            due = trusted.accept_manifest(raw_manifest)
            has_alternatives = Manifest.parse(raw_manifest).has_alternative_paths
            path = alternative_path(due) if has_alternatives else object_path(due)
            trusted.accept_certificate(await self._certificate(due, path))
            try:
                return trusted.accept_whitelist(await whitelist)
            except (CertificateNotListed, WhitelistExpired):
                pass  # it may have been renewed between our two requests, and then the manifest
        return trusted.accept_whitelist(await self.root_file(WHITELIST))

    async def root_file(self, name: str) -> bytes:
        """A root file.

        Raises:
            UpstreamError: it cannot be had.
        """
        request = Request(name, self._limits.letter_bytes, is_fresh=True)
        return await self._upstream.fetch(request, read_all)

    @asynccontextmanager
    async def named(self, manifest: Manifest, store: ObjectStore) -> AsyncIterator[Named]:
        """History and meta info, as uploads of ``store``; aborted on leaving, unless committed.

        Raises:
            UpstreamError, StoreError: they cannot be had, or kept.
            FormatError: no client could unpack the meta info, or would have to unpack too much.
        """
        history = await self._obtain(manifest.history, store)
        try:
            meta_info = await self._obtain(manifest.meta_info, store)
            try:
                if meta_info is not None:
                    await self._require_unpackable(meta_info)
                yield Named(history, meta_info)
            finally:
                if meta_info is not None:
                    await meta_info.abort()
        finally:
            if history is not None:
                await history.abort()

    async def tags(self, fqrn: Fqrn, manifest: Manifest, named: Named) -> list[Tag]:
        """The tags in the history.

        Raises:
            FormatError, NameMismatch: it is none, or another repository's.
        """
        if manifest.history is None:
            return []
        max_bytes = self._limits.history_bytes
        if named.history is None:
            packed = await self._read(manifest.history, max_bytes)
        else:
            packed = await _content(named.history)
        return await in_thread(lambda: tags_of(packed, fqrn, self._limits))

    async def _certificate(self, due: ContentHash, path: str) -> bytes:
        max_bytes = self._limits.letter_bytes
        if due in await self._here.sound([due]):
            return await self._read(due, max_bytes)

        async def receive(body: Body) -> bytes:
            stored = await read_all(body)
            if ContentHash.of(due.algorithm, stored, due.suffix) != due:
                raise Corrupted(f"the certificate {object_path(due)} came with another hash")
            return stored

        return await self._upstream.fetch(Request(path, max_bytes), receive)

    async def _obtain(self, content_hash: ContentHash | None, store: ObjectStore) -> Upload | None:
        if content_hash is None or await self._here.sound([content_hash]):
            return None
        is_history = content_hash.suffix is Suffix.HISTORY
        limits = self._limits
        max_bytes = limits.history_bytes if is_history else limits.meta_info_bytes
        return await fetch_verified(self._upstream, store, content_hash, max_bytes)

    async def _require_unpackable(self, meta_info: Upload) -> None:
        packed, max_bytes = await _content(meta_info), self._limits.meta_info_bytes
        await in_thread(lambda: decompress(packed, max_bytes, "the meta info"))

    async def _read(self, content_hash: ContentHash, max_bytes: int) -> bytes:
        return await in_thread(lambda: read_object(self._here, content_hash, max_bytes))


def tags_of(packed: bytes, fqrn: Fqrn, limits: Limits) -> list[Tag]:
    """The tags in a history as it is stored; blocks.

    Raises:
        FormatError, NameMismatch: it is none, or another repository's.
    """
    return read_history(decompress(packed, limits.history_bytes, "the history"), fqrn, limits)


def read_object(store: ObjectReader, content_hash: ContentHash, max_bytes: int) -> bytes:
    """A small object as stored; blocks.

    Raises:
        ObjectMissing: it is not there.
    """
    with store.open_object(content_hash) as file:
        return file.read(max_bytes)


async def _content(upload: Upload) -> bytes:
    """The verified bytes of what is not committed yet."""

    def read() -> bytes:
        with upload.reopen() as file:
            return file.read()

    return await in_thread(read)
