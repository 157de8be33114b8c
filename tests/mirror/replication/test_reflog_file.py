from __future__ import annotations

from pathlib import Path

import pytest

from mirror.cvmfs.content_hash import Algorithm, ContentHash, Suffix
from mirror.cvmfs.fqrn import Fqrn
from mirror.cvmfs.limits import Limits
from mirror.cvmfs.paths import REFLOG
from mirror.cvmfs.reflog import Reflog
from mirror.errors import StoreUnavailable
from mirror.events import Event, ReflogHealed
from mirror.replication.reflog_file import CHECKSUM_FILE, ReflogFile
from mirror.store.memory import MemoryStore
from tests.support.loops import run

NAME = Fqrn("test.example.org")
ROOT = ContentHash.of(Algorithm.SHA1, b"root", Suffix.CATALOG)
OTHER = ContentHash.of(Algorithm.SHA1, b"other", Suffix.HISTORY)
FULL = Reflog(NAME, {ROOT: 1000})


class Desk:
    """A reflog in a store, its checksum, and what is heard of it."""

    def __init__(self, spool: Path) -> None:
        self.store = MemoryStore()
        self.checksum = spool / CHECKSUM_FILE
        self.events: list[Event] = []
        self.file = ReflogFile(self.store, spool, NAME, self.events.append)

    def save(self, algorithm: Algorithm = Algorithm.SHA1) -> None:
        """Save a reflog with something in it."""
        run(self.file.save(FULL, algorithm))

    def load(self, *, is_initial: bool = False, limits: Limits | None = None) -> Reflog:
        """Load it again."""
        return run(self.file.load(limits or Limits(), is_initial=is_initial))

    def healed(self) -> str:
        """How, if it was."""
        (event,) = self.events
        assert isinstance(event, ReflogHealed)
        return event.how


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """Before anything was saved."""
    return Desk(tmp_path)


def test_the_first_one_is_empty(desk: Desk) -> None:
    """A replica begins without a reflog, and that is nothing to heal."""
    assert desk.load(is_initial=True) == Reflog.empty(NAME)
    assert not desk.events


@pytest.mark.parametrize("algorithm", Algorithm)
def test_what_was_saved_is_loaded(desk: Desk, algorithm: Algorithm) -> None:
    """Whatever hashes the repository; the two files fit."""
    desk.save(algorithm)
    assert desk.load() == FULL
    assert not desk.events


@pytest.mark.parametrize("algorithm", Algorithm)
def test_the_checksum_is_what_cvmfs_server_reads(desk: Desk, algorithm: Algorithm) -> None:
    """Bare hash text of the file, without suffix or newline, and no other file is left."""
    desk.save(algorithm)
    expected = ContentHash.of(algorithm, desk.store.root_files[REFLOG])
    assert desk.checksum.read_bytes() == expected.text.encode()
    assert [path.name for path in desk.checksum.parent.iterdir()] == [CHECKSUM_FILE]


@pytest.mark.parametrize(
    "content", [None, b"", b"0" * 40, b"no hash", b"\xff\xfe", b"0" * 41, b"x" * 10_000]
)
def test_a_checksum_that_does_not_fit(desk: Desk, content: bytes | None) -> None:
    """The reflog is kept: we are its only writer, so the checksum is what got lost."""
    desk.save()
    desk.checksum.unlink()
    if content is not None:
        desk.checksum.write_bytes(content)
    assert desk.load() == FULL
    assert "checksum did not fit" in desk.healed()


def test_a_checksum_with_a_newline_fits(desk: Desk) -> None:
    """Editors and shell scripts add one."""
    desk.save()
    desk.checksum.write_bytes(desk.checksum.read_bytes() + b"\n")
    assert desk.load() == FULL
    assert not desk.events


def test_a_lost_reflog(desk: Desk) -> None:
    """It is begun anew."""
    desk.save()
    del desk.store.root_files[REFLOG]
    assert desk.load() == Reflog.empty(NAME)
    assert desk.healed() == "it was missing; begun anew with the roots known to be here"


@pytest.mark.parametrize(
    "raw", [b"", b"no database", FULL.serialize()[:-5000], Reflog(Fqrn("a.b"), {}).serialize()]
)
def test_a_damaged_reflog(desk: Desk, raw: bytes) -> None:
    """It is begun anew too, and why is told."""
    desk.save()
    desk.store.root_files[REFLOG] = raw
    assert desk.load() == Reflog.empty(NAME)
    assert REFLOG in desk.healed()
    assert "begun anew" in desk.healed()


def test_a_reflog_beyond_the_limit(desk: Desk) -> None:
    """It is not read into memory, and begun anew."""
    desk.save()
    assert desk.load(limits=Limits(reflog_bytes=100)) == Reflog.empty(NAME)
    assert "larger than 100 bytes" in desk.healed()


def test_dying_between_the_two_files_heals(desk: Desk) -> None:
    """The reflog is new, the checksum is that of the old one."""
    desk.save()
    newer = Reflog(NAME, {ROOT: 1000, OTHER: 2000})
    desk.store.root_files[REFLOG] = newer.serialize()
    assert desk.load().refs == newer.refs
    desk.save()
    desk.events.clear()
    assert desk.load() == FULL
    assert not desk.events


def test_a_half_written_checksum_of_a_dead_run_is_replaced(desk: Desk) -> None:
    """What lies in the way from an earlier attempt does not matter."""
    desk.checksum.with_suffix(".new").write_bytes(b"half")
    desk.save()
    assert desk.load() == FULL


def test_a_checksum_that_cannot_be_kept(desk: Desk) -> None:
    """A directory in its place is told as our own disk's error."""
    desk.checksum.mkdir()
    with pytest.raises(StoreUnavailable):
        desk.save()
    desk.store.root_files[REFLOG] = FULL.serialize()
    with pytest.raises(StoreUnavailable):
        desk.load()
