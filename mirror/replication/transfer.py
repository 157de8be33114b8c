"""One object from upstream into the store: hashed while it comes, and not believed before."""

from __future__ import annotations

from mirror.cvmfs.content_hash import ContentHash
from mirror.cvmfs.paths import object_path
from mirror.store.base import ObjectStore, Upload
from mirror.upstream.base import Body, Request, Upstream


async def fetch_verified(
    upstream: Upstream,
    store: ObjectStore,
    content_hash: ContentHash,
    max_bytes: int,
    path: str | None = None,
) -> Upload:
    """Fetch an object; the caller commits or aborts what comes back.

    Args:
        upstream: from where.
        store: whereto.
        content_hash: its name, which proves its bytes.
        max_bytes: as stored.
        path: where it is upstream, if not at its usual place below ``data/``.

    Raises:
        UpstreamError: it was not delivered, or not with that hash.
        StoreError: it could not be kept.
    """

    async def receive(body: Body) -> Upload:
        upload = store.upload(content_hash.algorithm)
        try:
            async for chunk in body:
                await upload.write(chunk)
            await upload.verify(content_hash)
        except BaseException:
            await upload.abort()
            raise
        return upload

    return await upstream.fetch(Request(path or object_path(content_hash), max_bytes), receive)
