"""What the demo shows, step by step; every step is checked as it is shown."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager, AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from mirror import wiring
from mirror.config import Settings, load_settings
from mirror.cvmfs.content_hash import ContentHash
from mirror.cvmfs.fqrn import Fqrn
from mirror.cvmfs.limits import Limits
from mirror.cvmfs.manifest import Manifest
from mirror.cvmfs.paths import MANIFEST, object_path
from mirror.demo.behind import DemoProxy, proxy_before
from mirror.demo.stratum0 import DemoStratum0
from mirror.errors import DamageError
from mirror.events import Emit, ignore
from mirror.replication.snapshot import SnapshotReport, SnapshotRun
from mirror.serve.running import serving
from mirror.store.threads import in_thread
from mirror.upkeep.check import check_replica
from mirror.upstream.base import Body, Request, Upstream, read_all

_NODES: Final = 20
_REQUESTS_OF_A_NODE: Final = 2
Say = Callable[[str], None]
Progress = Callable[[], AbstractContextManager[Callable[[Fqrn], Emit]]]


class Tour:
    """The whole way of the data on one machine, from Stratum 0 to a client."""

    def __init__(
        self, stratum0: DemoStratum0, directory: Path, say: Say, progress: Progress
    ) -> None:
        """Lay everything out below ``directory``.

        Args:
            stratum0: what is replicated.
            directory: everything else stays below it.
            say: takes a line for the user.
            progress: shows one run; gives what hears its events.
        """
        self._say = say
        self._progress = progress
        self.stratum0 = stratum0
        self._fqrn = stratum0.fqrn
        self.storage = directory / "srv" / "cvmfs"
        self.storage.mkdir(parents=True)
        self.config = directory / "mirror.toml"

    async def walk(self, *, once: bool) -> None:
        """Show everything; then, unless ``once``, serve on until cancelled.

        Raises:
            MirrorError: something did not work.
        """
        async with AsyncExitStack() as servers:
            await in_thread(self.stratum0.publish_first)
            local = [("127.0.0.1", 0)]
            (origin,) = await servers.enter_async_context(serving(self.stratum0.storage, local))
            self._say(f"1. Stratum 0 publishes {self._fqrn}, {self.stratum0.origin}, at")
            self._say(f"   {origin}/cvmfs/{self._fqrn}")
            (mirror,) = await servers.enter_async_context(serving(self.storage, local))
            settings = self._write_settings(origin, mirror)

            self._say("2. The mirror replicates it: every signature and every hash verified")
            report = await self._snapshot(settings)
            self._say(f"   revision {report.revision}, {report.stored_objects} objects fetched")

            self._say("3. The mirror serves it; a client's first two requests:")
            await self._ask_as_client(settings, mirror, report.revision)

            self._say("4. A check walks everything that is reachable and hashes every byte")
            await self._check(settings)

            self._say("5. Stratum 0 publishes its next revision, and the mirror follows")
            await in_thread(self.stratum0.publish_next)
            report = await self._snapshot(settings)
            self._say(
                f"   revision {report.previous_revision} → {report.revision}: "
                f"only {report.stored_objects} objects were new"
            )
            await self._ask_as_client(settings, mirror, report.revision)
            await self._check(settings)

            self._say("6. A proxy for the nodes of a site: what one has fetched, all have")
            proxy = await servers.enter_async_context(proxy_before(mirror, self.config.parent))
            await self._ask_from_nodes(settings, mirror, proxy, report.revision)
            if not once:
                self._what_next(mirror, proxy)
                await asyncio.Event().wait()

    def _write_settings(self, origin: str, mirror: str) -> Settings:
        """The configuration, as an operator would write it; in a file, so that they can try it."""
        self.config.write_text(
            "[storage]\n"
            f'path = "{self.storage}"\n'
            f'spool = "{self.config.parent / "spool"}"\n'
            "[serve]\n"
            f'listen = ["{mirror.removeprefix("http://")}"]\n'
            "[[replica]]\n"
            f'name = "{self._fqrn}"\n'
            f'stratum0 = "{origin}/cvmfs/{self._fqrn}"\n'
            f'keys = "{self.stratum0.key}"\n'
        )
        return load_settings(self.config)

    async def _snapshot(self, settings: Settings) -> SnapshotReport:
        configured = settings.replica[0]
        replica = wiring.replica(settings, configured)
        with self._progress() as shown:
            emit = shown(self._fqrn)
            async with (
                wiring.shared(settings) as common,
                wiring.upstream(settings, configured, emit, common) as upstream,
                wiring.bulk(settings, configured, emit, common) as bulk,
            ):
                now = datetime.now(UTC)
                return await SnapshotRun(replica, upstream, now, emit, bulk=bulk).run()

    async def _ask_from_nodes(
        self, settings: Settings, mirror: str, proxy: DemoProxy, revision: int
    ) -> None:
        """Twenty nodes, one after the other; what they have in common crosses the wire once."""
        self._say(f"   {proxy.url} before {mirror}; the first of {_NODES} nodes:")
        await self._ask_as_client(settings, mirror, revision, proxy.url)
        for _ in range(_NODES - 1):
            await self._fetched_by_client(settings, mirror, revision, proxy.url)
        requests = _NODES * _REQUESTS_OF_A_NODE
        hits = await proxy.hits(requests)
        self._say(
            f"   {requests} requests of {_NODES} nodes, {requests - hits} of them reached the "
            f"mirror: hit rate {100 * hits / requests:.0f} %"
        )

    async def _ask_as_client(
        self, settings: Settings, mirror: str, revision: int, proxy: str | None = None
    ) -> None:
        """Show what a client gets first."""
        manifest, size_bytes = await self._fetched_by_client(settings, mirror, revision, proxy)
        self._say(f"   GET …/{MANIFEST}  revision {revision}")
        self._say(f"   GET …/{object_path(manifest.root_catalog)}  {size_bytes} bytes, hash right")

    async def _fetched_by_client(
        self, settings: Settings, mirror: str, revision: int, proxy: str | None
    ) -> tuple[Manifest, int]:
        """Fetch the manifest, and the root catalog it names, as a client would, and compare."""
        url = f"{mirror}/cvmfs/{self._fqrn}"
        at_mirror = settings.replica[0].model_copy(update={"stratum0": url, "proxy": proxy})
        async with (
            wiring.shared(settings) as common,
            wiring.upstream(settings, at_mirror, ignore, common) as upstream,
        ):
            manifest = Manifest.parse(await upstream.fetch(Request(MANIFEST, 4096), read_all))
            size_bytes = await _fetch_root_catalog(upstream, manifest.root_catalog)
        if manifest.revision != revision:
            raise DamageError(f"revision {manifest.revision} is served, not {revision}")
        return manifest, size_bytes

    async def _check(self, settings: Settings) -> None:
        replica = wiring.replica(settings, settings.replica[0])
        report = await check_replica(
            replica, datetime.now(UTC), full=True, progress=lambda _report: None
        )
        if report.damage_count:
            raise DamageError(f"the replica is damaged: {report.damage[0]}")
        self._say(f"   {report.catalogs} catalogs, {report.objects} objects: sound")

    def _what_next(self, mirror: str, proxy: DemoProxy) -> None:
        self._say("")
        self._say("All servers go on until Ctrl-C. Try:")
        self._say(f"  curl -i {mirror}/cvmfs/{self._fqrn}/{MANIFEST} --output -")
        self._say(
            f"  curl -i --proxy {proxy.url} {mirror}/cvmfs/{self._fqrn}/{MANIFEST} --output -"
        )
        self._say(f"  cvmfs-mirror --config {self.config} status")
        self._say(f"  cvmfs-mirror --config {self.config} check --full")
        self._say("Then your own: cvmfs-mirror add-replica --help")


async def _fetch_root_catalog(upstream: Upstream, content_hash: ContentHash) -> int:
    async def receive(body: Body) -> int:
        stored = await read_all(body)
        if ContentHash.of(content_hash.algorithm, stored, content_hash.suffix) != content_hash:
            raise DamageError(f"{object_path(content_hash)} is served with wrong bytes")
        return len(stored)

    return await upstream.fetch(Request(object_path(content_hash), Limits().catalog_bytes), receive)
