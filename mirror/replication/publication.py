"""The second law: root files last, and the manifest last of all (contract B.12 steps 12 and 13).

Nothing is published whose root catalog, history, certificate or meta info is not in the store: the
real tool did that (cvmfs #4270), and clients of such a mirror lost the repository.
"""

from __future__ import annotations

from dataclasses import dataclass

from mirror.cvmfs.paths import MANIFEST, WHITELIST, WHITELIST_PKCS7, object_path
from mirror.cvmfs.reflog import Reflog
from mirror.errors import FormatError, ObjectMissing
from mirror.replication.reflog_file import ReflogFile
from mirror.store.base import ObjectStore
from mirror.trust.trusted_ensemble import Ensemble


@dataclass(frozen=True, slots=True)
class Publication:
    """Everything that is to be put before clients, verified.

    Attributes:
        ensemble: manifest and whitelist.
        pkcs7: the whitelist's companion, if it has one.
        reflog: with the new roots in it; None to leave it as it is.
    """

    ensemble: Ensemble
    pkcs7: bytes | None
    reflog: Reflog | None


async def publish(publication: Publication, store: ObjectStore, reflog_file: ReflogFile) -> None:
    """Put the root files in place, one after the other; each is durable before the next.

    Raises:
        ObjectMissing: the manifest names something that is not here; nothing was changed.
        StoreError: a file could not be written; the old manifest still stands.
    """
    manifest = publication.ensemble.manifest
    present = await store.present(manifest.named_objects)
    for content_hash in manifest.named_objects:
        if content_hash not in present:
            raise ObjectMissing(
                f"{object_path(content_hash)}, which the manifest names, is not in the store; "
                "nothing was published; fetch it with: cvmfs-mirror snapshot --repair"
            )
    if publication.reflog is not None:
        await reflog_file.save(publication.reflog, manifest.root_catalog.algorithm)
    if manifest.has_alternative_paths:
        for content_hash in manifest.named_objects:
            await store.place_alternative(content_hash)
    async with store.flip():
        if publication.pkcs7 is not None:
            await _replace(store, WHITELIST_PKCS7, publication.pkcs7)
        await _replace(store, WHITELIST, publication.ensemble.whitelist.raw)
        await _replace(store, MANIFEST, manifest.raw)


async def _replace(store: ObjectStore, name: str, data: bytes) -> None:
    """Write, unless the very same bytes are there: a run that brings nothing new costs no sync."""
    try:
        is_there = await store.read_root_file(name, len(data)) == data
    except FormatError:
        is_there = False  # longer than ours
    if not is_there:
        await store.write_root_file(name, data)
