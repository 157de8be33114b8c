"""Packing in processes: the same as in one, and whatever happens to them leaves nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import IO

import pytest

from mirror.cvmfs.limits import MIB
from mirror.errors import ConfigError, FormatError, StoreFull, StoreUnavailable
from mirror.store.local import LocalStore
from mirror.stratum0 import packing
from mirror.stratum0.chunking import ChunkSizes
from mirror.stratum0.entry import Stored
from mirror.stratum0.packer import Content, PackingOptions, Part
from mirror.stratum0.packing import Packing
from mirror.stratum0.source import DirectorySource, SourceEntry
from mirror.stratum0.workers import Workers
from tests.support.disks import tiny_disk
from tests.support.keys import Keys
from tests.support.origin import Origin, file_entry, streamed_entry
from tests.support.reachable import reachable_objects
from tests.support.tasks import deadly_content

SMALL = PackingOptions(sizes=ChunkSizes(smallest=64, average=128, largest=256))
ALIKE = PackingOptions(is_packed=False)


@pytest.fixture(autouse=True)
def little_is_much(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes for a handful of files, and on a host with one processor too."""
    monkeypatch.setattr(packing, "_FEW_BYTES", 0)
    monkeypatch.setattr(packing, "_BATCH_ENTRIES", 4)
    monkeypatch.setattr(packing, "_processors", lambda: 2)


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    """An empty one."""
    store = LocalStore(tmp_path / "store")
    store.prepare_now()
    return store


def files(store: LocalStore) -> dict[str, bytes]:
    """Everything in it, hidden or not."""
    found = (path for path in store.root.rglob("*") if path.is_file())
    return {str(path.relative_to(store.root)): path.read_bytes() for path in found}


def unreadable(path: str) -> SourceEntry:
    """An entry whose file went away meanwhile."""
    return SourceEntry(
        path.encode(), file_entry(b"", b"").attributes, 1, content=partial(_open, path)
    )


def _open(path: str) -> IO[bytes]:
    return Path(path).open("rb")


def mixed() -> Iterator[SourceEntry]:
    """Files and streams, whole and in chunks, some alike, and directories."""
    for number in range(60):
        content = bytes(range(number % 20)) * (number % 20)
        make = streamed_entry if number % 3 == 0 else file_entry
        yield make(b"/%02d" % number, content)
        yield file_entry(b"/%02d.directory" % number, None)


def packed(store: LocalStore) -> tuple[list[tuple[bytes, Stored | None]], int, int]:
    """What becomes of them, and the account."""
    with Packing(store, SMALL) as work:
        found = [(entry.path, stored) for entry, stored in work.pack(mixed())]
        work.settle()
        return found, work.new_objects, work.new_bytes


def test_processes_do_what_one_does(
    store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Same order, same objects, same account; and nothing else stays."""
    here = packed(store)
    monkeypatch.setattr(packing, "_FEW_BYTES", 2**40)
    other = LocalStore(tmp_path / "other")
    other.prepare_now()
    assert packed(other) == here
    assert files(other) == files(store)
    assert packed(store)[1:] == (0, 0)


@pytest.mark.parametrize("settle_after", [1, 4000])
def test_what_two_processes_staged_counts_once(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, settle_after: int
) -> None:
    """Even if the first had its name before the second was told of."""
    monkeypatch.setattr(packing, "_SETTLE_AFTER", settle_after)
    with Packing(store, ALIKE) as work:
        list(work.pack(file_entry(b"/%d" % number, b"same") for number in range(200)))
        work.settle()
        assert (work.new_objects, work.new_bytes) == (1, 4)
        assert list(files(store).values()) == [b"same"]


def test_one_processor_is_not_shared(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A content that cannot be sent to another process is packed in this one."""
    monkeypatch.setattr(packing, "_processors", lambda: 1)
    entry = replace(file_entry(b"/a", b""), content=lambda: BytesIO(b"a" * 100_000))
    with Packing(store, ALIKE) as work:
        assert [stored.size_bytes for _, stored in work.pack([entry]) if stored] == [100_000]


def test_contents_are_forgotten_once_they_are_sent(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits for results is small, whatever was read from a tarball."""
    waiting: list[packing._Batch] = []

    def pack_here(
        workers: Workers[list[Content], list[list[Part]]],
        tasks: Iterable[tuple[packing._Batch, list[Content]]],
    ) -> Iterator[tuple[packing._Batch, list[list[Part]]]]:
        for batch, contents in tasks:
            waiting.append(batch)
            yield batch, workers._function(contents)

    monkeypatch.setattr(Workers, "map", pack_here)
    with Packing(store, SMALL) as work:
        assert len(list(work.pack(mixed()))) == 120
    assert waiting
    assert not any(batch.contents for batch in waiting)


def broken_source() -> Iterator[SourceEntry]:
    """It ends in an error."""
    yield from mixed()
    raise FormatError("broken")


@pytest.mark.parametrize(
    ("entries", "family", "text"),
    [
        (lambda: [*mixed(), unreadable("/gone")], ConfigError, "'/gone': No such file"),
        (broken_source, FormatError, "broken"),
        (lambda: [*mixed(), deadly()], StoreUnavailable, "exit code -9"),
    ],
)
def test_an_error_leaves_nothing(
    store: LocalStore,
    entries: Callable[[], Iterable[SourceEntry]],
    family: type[Exception],
    text: str,
) -> None:
    """Nor do results that nobody took."""
    with pytest.raises(family, match=text), Packing(store, SMALL) as work:
        list(work.pack(entries()))
    assert files(store) == {}


def deadly() -> SourceEntry:
    """A file whose reader is killed, as for want of memory."""
    return SourceEntry(b"/deadly", file_entry(b"", b"").attributes, 1, content=deadly_content)


def test_results_that_nobody_takes_leave_nothing(store: LocalStore) -> None:
    """Ctrl-C comes at any time."""
    with Packing(store, SMALL) as work:
        next(work.pack(mixed()))
    assert files(store) == {}


def test_a_full_disk_is_told_by_the_process_that_noticed(tmp_path: Path) -> None:
    """And everything staged makes room again."""
    with tiny_disk(tmp_path / "disk", 2 * MIB) as disk:
        store = LocalStore(disk)
        store.prepare_now()
        entries = (file_entry(b"/%d" % number, b"%d" % number * 100_000) for number in range(50))
        with pytest.raises(StoreFull, match="make room"), Packing(store, ALIKE) as work:
            list(work.pack(entries))
        assert files(store) == {}


def test_a_killed_worker_leaves_the_old_revision(keys: Keys, tmp_path: Path) -> None:
    """Whole; and the next publication works."""

    class Deadly:
        def entries(self) -> Iterator[SourceEntry]:
            yield file_entry(b"", None)
            yield from mixed()
            yield deadly()

    origin = Origin(tmp_path, keys)
    origin.publish({b"/a": b"1"})
    before = (origin.root / ".cvmfspublished").read_bytes()
    with pytest.raises(StoreUnavailable, match="what was published is as it was"):
        origin.publish(Deadly())
    assert (origin.root / ".cvmfspublished").read_bytes() == before
    assert reachable_objects(origin.root) <= origin.objects()
    assert origin.publish({b"/a": b"2"}).revision == 2
    assert origin.temporaries() == []


def test_a_directory_is_published_by_processes(keys: Keys, tmp_path: Path) -> None:
    """Its files are opened there."""
    (tmp_path / "content").mkdir()
    for number in range(20):
        (tmp_path / "content" / str(number)).write_text(str(number))
    origin = Origin(tmp_path, keys)
    assert origin.publish(DirectorySource(tmp_path / "content")).changes.added == 20
    assert reachable_objects(origin.root) <= origin.objects()
