"""Where everything is put together; the only module that knows every room."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from mirror.config import DEFAULT_BLACKLIST, ReplicaSettings, Settings
from mirror.cvmfs.blacklist import Blacklist
from mirror.cvmfs.fqrn import Fqrn
from mirror.cvmfs.paths import TEMPORARIES
from mirror.errors import ConfigError, FormatError
from mirror.events import Emit
from mirror.priority import Manners
from mirror.replication.bulk import LaneBulk
from mirror.replication.fetching import Bulk
from mirror.replication.lane_options import LaneOptions
from mirror.replication.lanes import LanePool, Lanes
from mirror.replication.replica import Replica
from mirror.replication.snapshot import BeforeFlip, SnapshotOptions, SnapshotReport, SnapshotRun
from mirror.replication.spread import Spread
from mirror.store.local import LocalStore
from mirror.trust.master_keys import MasterKeys
from mirror.trust.trusted_ensemble import TrustAnchor
from mirror.upstream.base import Upstream
from mirror.upstream.client import http_upstream
from mirror.upstream.concurrency import AdaptiveLimit, ConcurrencyRange
from mirror.upstream.lean import Server, can_do
from mirror.upstream.limited import Limited
from mirror.upstream.options import HttpOptions
from mirror.upstream.paced import Paced
from mirror.upstream.pacing import Pacing
from mirror.upstream.retrying import RetryPolicy
from mirror.upstream.scoring import Scoreboard
from mirror.upstream.sources import Sources, sources


def local_store(settings: Settings, fqrn: Fqrn) -> LocalStore:
    """The tree of one repository."""
    storage = settings.storage
    return LocalStore(storage.path / fqrn.name, storage.reserve, storage.cached_up_to)


def replica(settings: Settings, configured: ReplicaSettings) -> Replica:
    """One replica, ready for snapshots and checks.

    Raises:
        ConfigError: its keys, or the blacklist, cannot be read.
    """
    fqrn = Fqrn(configured.name)
    store = local_store(settings, fqrn)
    anchor = TrustAnchor(fqrn, MasterKeys.load(configured.keys), _blacklist(settings))
    return Replica(
        anchor=anchor,
        store=store,
        spool=settings.storage.spool / fqrn.name,
        scratch=store.root / TEMPORARIES,
        predecessor_days=settings.snapshot.predecessor_days,
    )


@dataclass(frozen=True, slots=True)
class Shared:
    """What replicas have in common that are worked on at the same time.

    Attributes:
        count: how many of them at most.
        paces: the limits of speed.
        pool: processes that fetch small objects.
        boards: by the names of replicas.
    """

    count: int
    paces: Pacing
    pool: LanePool
    boards: dict[str, Scoreboard] = field(default_factory=dict)

    def board(self, configured: ReplicaSettings) -> Scoreboard:
        """How the sources of a replica do when they are asked for one thing at a time."""
        new = Scoreboard(len(configured.sources), reserve=0)
        return self.boards.setdefault(configured.name, new)


@asynccontextmanager
async def shared(
    settings: Settings, count: int = 1, manners: Manners | None = None
) -> AsyncIterator[Shared]:
    """What so many replicas will share; ``manners`` of the lanes, where we do not give way."""
    fetch = settings.fetch
    async with LanePool(fetch.processes, manners) as pool:
        yield Shared(count, Pacing(fetch.total_schedule, fetch.source_schedule), pool)


@asynccontextmanager
async def upstream(
    settings: Settings, configured: ReplicaSettings, emit: Emit, common: Shared
) -> AsyncIterator[Upstream]:
    """The way to Stratum 0 and the mirrors: each limited in number and speed, all retried together.

    Raises:
        ConfigError: the CA bundle cannot be read.
    """
    options = _http_options(settings, configured)
    policy = RetryPolicy(retries=settings.fetch.retries)
    bounds = ConcurrencyRange(highest=_requests(settings, common)[0])
    async with AsyncExitStack() as clients:
        servers: list[Upstream] = []
        for url in configured.sources:
            http = await clients.enter_async_context(http_upstream(url, options))
            pacers = common.paces.towards(url)
            paced = Paced(http, pacers) if pacers else http
            servers.append(Limited(paced, AdaptiveLimit(bounds)))
        yield sources(servers, policy, Fqrn(configured.name), emit, board=common.board(configured))


@asynccontextmanager
async def bulk(
    settings: Settings, configured: ReplicaSettings, emit: Emit, common: Shared
) -> AsyncIterator[Bulk | None]:
    """The quicker way for small objects; None where only the general client can go.

    And None where the speed is limited: there is nothing to be gained then.

    Raises:
        ConfigError: the CA bundle cannot be read.
    """
    options = _http_options(settings, configured)
    urls = configured.sources
    can = all(can_do(url, options) and not common.paces.towards(url) for url in urls)
    if not can or not settings.fetch.processes:
        yield None
        return
    fqrn = Fqrn(configured.name)
    store = local_store(settings, fqrn)
    what = LaneOptions(
        servers=[Server.at(url, options) for url in urls],
        staging=store.staging(),
        concurrency=ConcurrencyRange(lowest=1, highest=_requests(settings, common)[1]),
        reserve=settings.storage.reserve,
    )
    async with Lanes(common.pool, what) as lanes:
        spread = Spread(lanes, urls, fqrn, emit, common.board(configured))
        brought = LaneBulk(lanes, spread, store)
        try:
            yield brought
        finally:
            await brought.close()


@dataclass(frozen=True, slots=True)
class Journey:
    """The way to one repository's sources, while it is open.

    Attributes:
        sources: Stratum 0 and the mirrors.
    """

    sources: Sources
    _settings: Settings
    _configured: ReplicaSettings
    _emit: Emit
    _common: Shared
    _before_flip: BeforeFlip | None = None

    async def run(self, options: SnapshotOptions | None = None) -> SnapshotReport:
        """Bring the replica to the revision its sources are at.

        Raises:
            MirrorError: why not.
        """
        replicated = replica(self._settings, self._configured)
        async with bulk(self._settings, self._configured, self._emit, self._common) as quick:
            now = datetime.now(UTC)
            run = SnapshotRun(
                replicated,
                self.sources,
                now,
                self._emit,
                options,
                bulk=quick,
                before_flip=self._before_flip,
            )
            return await run.run()


@asynccontextmanager
async def journey(
    settings: Settings,
    configured: ReplicaSettings,
    emit: Emit,
    common: Shared,
    before_flip: BeforeFlip | None = None,
) -> AsyncIterator[Journey]:
    """Open the way; ``before_flip`` as in `SnapshotRun`.

    Raises:
        ConfigError: the CA bundle cannot be read.
    """
    async with upstream(settings, configured, emit, common) as asked:
        yield Journey(Sources.of(asked), settings, configured, emit, common, before_flip)


def _http_options(settings: Settings, configured: ReplicaSettings) -> HttpOptions:
    fetch = settings.fetch
    return HttpOptions(
        timeout_s=fetch.timeout_s,
        min_bytes_per_s=fetch.min_bytes_per_s,
        max_connections=fetch.max_connections,
        follow_redirects=fetch.follow_redirects,
        proxy=configured.proxy or fetch.proxy,
        ca_bundle=configured.ca_bundle or fetch.ca_bundle,
    )


def _requests(settings: Settings, common: Shared) -> tuple[int, int]:
    """Requests under way for one replica: of this process, and of each lane.

    All replicas together never have more under way than there may be connections.
    """
    allowed = max(1, settings.fetch.max_connections // common.count)
    lanes = settings.fetch.processes
    each_lane = max(1, allowed // (lanes + 1))
    return max(1, allowed - lanes * each_lane), each_lane


def _blacklist(settings: Settings) -> Blacklist:
    path = settings.trust.blacklist or DEFAULT_BLACKLIST
    if settings.trust.blacklist is None and not path.exists():
        return Blacklist()
    return _read_blacklist(path)


def _read_blacklist(path: Path) -> Blacklist:
    try:
        return Blacklist.parse(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror}"]) from error
    except (FormatError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: {error}"]) from error
