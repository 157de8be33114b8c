"""What is asked of the origin beside the trees; its order is told in test_snapshot.py."""

from __future__ import annotations

from datetime import timedelta

import pytest

from mirror.cvmfs.content_hash import Algorithm, ContentHash, Suffix
from mirror.cvmfs.limits import Limits
from mirror.cvmfs.manifest import Manifest
from mirror.cvmfs.paths import MANIFEST, WHITELIST, object_path
from mirror.errors import (
    Corrupted,
    FormatError,
    MirrorError,
    NameMismatch,
    ObjectMissing,
    TooLarge,
    WhitelistExpired,
)
from mirror.replication.origin import Named, Origin, read_object, tags_of
from mirror.store.memory import MemoryStore
from mirror.upstream.base import Body
from tests.support.clock import NOW
from tests.support.databases import history_database
from tests.support.faults import Fault, corrupted, endless, truncated
from tests.support.keys import Keys
from tests.support.loops import is_cancelled_at, run
from tests.support.publisher import Repository
from tests.support.simulated import SimulatedStratum0


class Desk:
    """An origin, and a store that has nothing of it yet."""

    def __init__(self, repository: Repository) -> None:
        self.repository = repository
        self.stratum0 = SimulatedStratum0(repository.files)
        self.store = MemoryStore()
        self.origin = Origin(self.stratum0, self.store, Limits(letter_bytes=100_000))

    @property
    def manifest(self) -> Manifest:
        """What is published."""
        return Manifest.parse(self.repository.files[MANIFEST])

    def name(self, suffix: Suffix) -> ContentHash:
        """An object that the manifest names."""
        return next(each for each in self.manifest.named_objects if each.suffix is suffix)

    def keep(self, suffix: Suffix) -> str:
        """Let the store have it; returns its path."""
        name = self.name(suffix)
        self.store.objects[name] = self.repository.files[object_path(name)]
        return object_path(name)

    def accept(self) -> None:
        """Go through the chain of trust."""
        run(self.origin.accept_ensemble(self.repository.anchor, NOW, None))

    async def tags(self) -> list[str]:
        """Names of the tags."""
        async with self.origin.named(self.manifest, self.store) as named:
            tags = await self.origin.tags(self.repository.fqrn, self.manifest, named)
        return [tag.name for tag in tags]


@pytest.fixture
def desk(keys: Keys) -> Desk:
    """A repository with a tag."""
    repository = Repository(keys)
    repository.publish({"": {"README": b"hello"}}, tag="v1")
    return Desk(repository)


def test_a_certificate_that_is_here_is_not_asked_for(desk: Desk) -> None:
    """Unless its bytes are not what they should be."""
    path = desk.keep(Suffix.CERTIFICATE)
    desk.accept()
    assert path not in desk.stratum0.paths
    desk.store.objects[desk.name(Suffix.CERTIFICATE)] = b"damaged"
    desk.accept()
    assert path in desk.stratum0.paths


def renewed_after(desk: Desk, first: bytes) -> None:
    """Let the first request for the whitelist come a moment too early."""
    renewed = desk.repository.files[WHITELIST]
    desk.repository.files[WHITELIST] = first

    def renew(body: Body) -> Body:
        desk.repository.files[WHITELIST] = renewed
        del desk.stratum0.faults[WHITELIST]
        return body

    desk.stratum0.faults[WHITELIST] = renew


def test_a_whitelist_older_than_the_manifest(desk: Desk) -> None:
    """The publisher renewed it between two requests of ours: it is asked for once more."""
    fresh = desk.repository.files[WHITELIST]
    desk.repository.write_whitelist(expires_at=NOW - timedelta(days=1))
    expired = desk.repository.files[WHITELIST]
    desk.repository.files[WHITELIST] = fresh
    renewed_after(desk, expired)
    desk.accept()
    assert desk.stratum0.paths.count(WHITELIST) == 2


def test_a_whitelist_that_stays_wrong(desk: Desk) -> None:
    """It is asked for once more, and not for ever."""
    desk.repository.write_whitelist(expires_at=NOW - timedelta(days=1))
    with pytest.raises(WhitelistExpired):
        desk.accept()
    assert desk.stratum0.paths.count(WHITELIST) == 2


@pytest.mark.parametrize(
    ("fault", "error"), [(corrupted, Corrupted), (truncated, Corrupted), (endless, TooLarge)]
)
def test_a_certificate_is_judged_while_it_comes(
    desk: Desk, fault: Fault, error: type[MirrorError]
) -> None:
    """So whoever retries past caches hears of it."""
    desk.stratum0.faults[object_path(desk.name(Suffix.CERTIFICATE))] = fault
    with pytest.raises(error):
        desk.accept()


def test_history_and_meta_info_are_not_committed(desk: Desk) -> None:
    """They are verified and can be read; on leaving they are gone, unless somebody commits."""

    async def main() -> None:
        async with desk.origin.named(desk.manifest, desk.store) as named:
            assert named.history is not None
            assert named.meta_info is not None
            assert desk.store.open_uploads == 2
            await named.history.commit(desk.name(Suffix.HISTORY))
        assert desk.store.objects.keys() == {desk.name(Suffix.HISTORY)}
        assert desk.store.open_uploads == 0

    run(main())


def test_what_is_here_is_not_asked_for(desk: Desk) -> None:
    """Tags are read from the history that is here."""
    kept = {desk.keep(Suffix.HISTORY), desk.keep(Suffix.META_INFO)}
    assert run(desk.tags()) == ["v1"]
    assert not kept & set(desk.stratum0.paths)


def test_tags_come_from_the_history(desk: Desk) -> None:
    """Which may still be on its way, or not be there at all."""
    assert run(desk.tags()) == ["v1"]
    desk.repository.resign(H=None)
    assert run(desk.tags()) == []
    assert run(desk.origin.tags(desk.repository.fqrn, desk.manifest, Named(None, None))) == []


@pytest.mark.parametrize("suffix", [Suffix.HISTORY, Suffix.META_INFO])
def test_what_cannot_be_had_leaves_nothing(desk: Desk, suffix: Suffix) -> None:
    """Whichever of the two it is."""
    desk.stratum0.faults[object_path(desk.name(suffix))] = corrupted
    with pytest.raises(Corrupted):
        run(desk.tags())
    assert desk.store.open_uploads == 0


def test_cancelled_at_any_moment(desk: Desk) -> None:
    """Both are forgotten, whenever."""

    async def main() -> None:
        turn = 0
        while await is_cancelled_at(turn, desk.tags()):
            assert desk.store.open_uploads == 0
            turn += 1

    run(main())


def test_another_repositorys_history(desk: Desk) -> None:
    """Though the publisher signed it, it is not ours."""
    stored = desk.repository.add_object(history_database("other.example.org", []))
    packed = desk.repository.files[object_path(stored)]
    with pytest.raises(NameMismatch):
        tags_of(packed, desk.repository.fqrn, Limits())
    with pytest.raises(FormatError, match="unpacks to more than"):
        tags_of(packed, desk.repository.fqrn, Limits(history_bytes=1000))


def test_reading_small_objects(desk: Desk) -> None:
    """As stored, no more than the limit, and missing ones are told."""
    name = ContentHash.of(Algorithm.SHA1, b"0123456789")
    desk.store.objects[name] = b"0123456789"
    assert read_object(desk.store, name, 5) == b"01234"
    del desk.store.objects[name]
    with pytest.raises(ObjectMissing):
        read_object(desk.store, name, 5)
