"""One replica by itself: what a look costs, what it brings, and what is said if it fails."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from mirror.cvmfs.paths import MANIFEST
from mirror.daemon.situation import Phase, Revision
from mirror.errors import Unavailable
from mirror.replication.lock import replica_lock
from tests.support.faults import unavailable
from tests.support.keepers import KeptMirror
from tests.support.keys import Keys
from tests.support.loops import run
from tests.support.publisher import Repository
from tests.support.replicas import Mirror
from tests.support.trees import NEXT_TREE, TREE


@pytest.fixture
def kept(keys: Keys, tmp_path: Path) -> KeptMirror:
    """A replica that nobody has fetched yet."""
    repository = Repository(keys)
    repository.publish(TREE)
    return KeptMirror(Mirror.in_memory(repository, tmp_path))


def served(kept: KeptMirror) -> int | None:
    """The revision that clients get."""
    revision = kept.situation.served
    return revision.number if revision is not None else None


def test_first_look(kept: KeptMirror) -> None:
    """It brings everything."""
    run(kept.keeper.look())
    assert served(kept) == 1
    assert [flip.revision.number for flip in kept.flips] == [1]
    assert kept.flips[0].objects > 0
    assert kept.situation.phase is Phase.IDLE
    assert kept.situation.run is None
    kept.mirror.require_whole()


def test_no_news(kept: KeptMirror) -> None:
    """A look costs one small request then, and starts no run."""
    run(kept.keeper.look())
    kept.mirror.stratum0.requests.clear()
    run(kept.keeper.look())
    assert kept.mirror.stratum0.paths == [MANIFEST]
    assert kept.runs == 1


def test_news(kept: KeptMirror) -> None:
    """They are served after the next look."""
    run(kept.keeper.look())
    kept.mirror.repository.publish(NEXT_TREE)
    run(kept.keeper.look())
    assert served(kept) == 2
    assert [flip.revision.number for flip in kept.flips] == [1, 2]


def test_told(kept: KeptMirror) -> None:
    """Who is told of news need not ask first."""
    run(kept.keeper.look())
    kept.mirror.repository.publish(NEXT_TREE)
    kept.mirror.stratum0.requests.clear()
    run(kept.keeper.look(is_told=True))
    assert served(kept) == 2
    assert kept.mirror.stratum0.paths.count(MANIFEST) == 1


def test_whitelists(kept: KeptMirror) -> None:
    """They are renewed without a new revision, so there is a run once in a while."""
    run(kept.keeper.look())
    expires = kept.situation.whitelist_expires
    assert expires is not None
    kept.mirror.repository.write_whitelist(expires_at=expires + timedelta(days=30))
    run(kept.keeper.look())
    assert kept.situation.whitelist_expires == expires
    kept.later(hours=1)
    run(kept.keeper.look())
    assert kept.situation.whitelist_expires != expires
    assert (kept.runs, len(kept.flips)) == (2, 1)


def test_what_was_there_before(kept: KeptMirror) -> None:
    """It is known from the beginning."""
    run(kept.keeper.look())
    again = KeptMirror(kept.mirror)
    run(again.keeper.begin())
    assert again.situation.served == kept.situation.served
    assert again.situation.whitelist_expires == kept.situation.whitelist_expires


def test_failures(kept: KeptMirror) -> None:
    """They are counted and told; the old revision is served, and one success ends them."""
    run(kept.keeper.look())
    kept.mirror.repository.publish(NEXT_TREE)
    kept.mirror.stratum0.fault = unavailable
    for count in (1, 2, 3):
        run(kept.keeper.look())
        assert kept.situation.failures == count
    trouble = kept.situation.trouble
    assert trouble is not None
    assert isinstance(trouble.error, Unavailable)
    assert served(kept) == 1
    kept.mirror.stratum0.fault = None
    run(kept.keeper.look())
    assert (kept.situation.failures, kept.situation.trouble, served(kept)) == (0, None, 2)


def test_another_one_at_work(kept: KeptMirror) -> None:
    """A replica that cvmfs_server is updating has not failed."""
    with replica_lock(kept.mirror.spool):
        run(kept.keeper.look())
    trouble = kept.situation.trouble
    assert trouble is not None
    assert (trouble.kind, kept.situation.failures) == ("Locked", 0)


def test_never_twice_at_once(kept: KeptMirror) -> None:
    """Whoever asks meanwhile gets one more look behind it, however many ask, and hears its end."""

    async def many() -> None:
        first = asyncio.create_task(kept.keeper.look())
        while kept.situation.phase is not Phase.FETCHING:  # noqa: ASYNC110
            await asyncio.sleep(0)
        kept.mirror.repository.publish(NEXT_TREE)
        await asyncio.gather(*(kept.keeper.look(is_told=True) for _ in range(5)))
        assert served(kept) == 2
        await first

    run(many())
    assert kept.runs <= 2
    kept.mirror.require_whole()


def test_lag(kept: KeptMirror) -> None:
    """It counts from the first revision that is not served, and ends when the newest is."""
    run(kept.keeper.look())
    situation = kept.situation
    assert situation.served is not None
    one = situation.served
    assert situation.lag_s(one.published_at + 100) == 0
    situation.see(Revision(2, one.published_at + 10, "b", ""))
    situation.see(Revision(3, one.published_at + 50, "c", ""))
    assert situation.lag_s(one.published_at + 100) == 90
    kept.mirror.repository.publish(NEXT_TREE)
    run(kept.keeper.look())
    assert situation.upstream == situation.served
    assert situation.lag_s(one.published_at + 100) == 0
