"""Where everything is put together; the only module that knows every room."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from mirror.config import DEFAULT_BLACKLIST, ReplicaSettings, Settings
from mirror.cvmfs.blacklist import Blacklist
from mirror.cvmfs.fqrn import Fqrn
from mirror.cvmfs.paths import TEMPORARIES
from mirror.errors import ConfigError, FormatError
from mirror.events import Emit
from mirror.replication.bulk import LaneBulk
from mirror.replication.fetching import Bulk
from mirror.replication.lane import LaneOptions
from mirror.replication.lanes import Lanes
from mirror.replication.replica import Replica
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
from mirror.upstream.retrying import Retrying, RetryPolicy


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


def pacing(settings: Settings) -> Pacing:
    """The limits of speed; one for all replicas that are worked on at the same time."""
    return Pacing(settings.fetch.total_schedule, settings.fetch.source_schedule)


@asynccontextmanager
async def upstream(
    settings: Settings, configured: ReplicaSettings, emit: Emit, paces: Pacing | None = None
) -> AsyncIterator[Upstream]:
    """The way to Stratum 0: limited in number and speed, of what is retried, of what HTTP brings.

    Without ``paces`` it has the whole of what is allowed for itself.

    Raises:
        ConfigError: the CA bundle cannot be read.
    """
    fetch = settings.fetch
    options = _http_options(settings, configured)
    limit = AdaptiveLimit(ConcurrencyRange(highest=_shares(settings)[0]))
    policy = RetryPolicy(retries=fetch.retries)
    async with http_upstream(configured.stratum0, options) as http:
        pacers = (paces or pacing(settings)).towards(configured.stratum0)
        limited = Limited(Paced(http, pacers) if pacers else http, limit)
        yield Retrying(limited, policy, Fqrn(configured.name), emit)


@asynccontextmanager
async def bulk(settings: Settings, configured: ReplicaSettings) -> AsyncIterator[Bulk | None]:
    """The quicker way for small objects; None where only the general client can go.

    Raises:
        ConfigError: the CA bundle cannot be read.
    """
    options = _http_options(settings, configured)
    if not can_do(configured.stratum0, options):
        yield None
        return
    store = local_store(settings, Fqrn(configured.name))
    lanes = LaneOptions(
        servers=[Server.at(configured.stratum0, options)],
        staging=store.staging(),
        concurrency=ConcurrencyRange(lowest=1, highest=_shares(settings)[1]),
    )
    async with Lanes(settings.fetch.processes, lanes) as started:
        yield LaneBulk(started, store)


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


def _shares(settings: Settings) -> tuple[int, int]:
    """Requests under way: of this process, and of each lane; together never more than allowed."""
    allowed, lanes = settings.fetch.max_connections, settings.fetch.processes
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
