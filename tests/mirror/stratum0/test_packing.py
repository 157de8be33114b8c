"""Packing: contents become objects in the order of the source, once each, and hidden until then."""

from __future__ import annotations

import stat
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest

from mirror.cvmfs.content_hash import Algorithm, ContentHash, Suffix
from mirror.errors import ConfigError, FormatError, StoreUnavailable
from mirror.store.local import LocalStore
from mirror.stratum0 import packing, workers
from mirror.stratum0.chunking import ChunkSizes
from mirror.stratum0.entry import Attributes, Stored
from mirror.stratum0.packer import PackingOptions
from mirror.stratum0.packing import Packing
from mirror.stratum0.source import SourceEntry
from tests.support.origin import file_entry, streamed_entry

Make = Callable[[bytes, bytes], SourceEntry]
SMALL = PackingOptions(sizes=ChunkSizes(smallest=64, average=128, largest=256))


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    """An empty one."""
    store = LocalStore(tmp_path / "store")
    store.prepare_now()
    return store


def visible(store: LocalStore) -> set[str]:
    """Objects that have their names."""
    return {path.name for path in (store.root / "data").glob("[0-9a-f][0-9a-f]/*")}


def temporaries(store: LocalStore) -> list[str]:
    """What lies hidden."""
    return [path.name for path in (store.root / "data" / "txn").iterdir()]


def unpacked(store: LocalStore, stored: Stored) -> bytes:
    """A content back from its objects."""
    names = [piece.hash for piece in stored.chunks]
    pieces = []
    for name in names or filter(None, [stored.hash]):
        with store.open_object(name) as file:
            data = file.read()
        assert ContentHash.of(name.algorithm, data, name.suffix) == name
        pieces.append(zlib.decompress(data) if stored.is_packed else data)
    return b"".join(pieces)


@pytest.mark.parametrize("algorithm", list(Algorithm))
@pytest.mark.parametrize("is_packed", [True, False])
@pytest.mark.parametrize("make", [file_entry, streamed_entry])
def test_contents_come_back(
    store: LocalStore,
    algorithm: Algorithm,
    make: Callable[[bytes, bytes], SourceEntry],
    *,
    is_packed: bool,
) -> None:
    """Whole or in chunks, packed or not, read from a file or a stream."""
    contents = {b"/%d" % size: bytes(range(256)) * size for size in (0, 1, 9, 40)}
    options = PackingOptions(algorithm, is_packed, SMALL.sizes)
    with Packing(store, options) as work:
        found = dict(work.pack(make(path, content) for path, content in contents.items()))
        work.settle()
    for entry, stored in found.items():
        assert stored is not None
        assert unpacked(store, stored) == contents[entry.path]
        assert stored.size_bytes == len(contents[entry.path])


def test_the_order_of_the_source_is_kept(store: LocalStore) -> None:
    """Large, small, streamed, directories: as they came."""
    entries = [
        [file_entry, streamed_entry][number % 7 == 0](b"/%04d" % number, bytes(number * 37 % 5000))
        for number in range(500)
    ]
    entries[100:100] = [file_entry(b"/directory", None)]
    with Packing(store, SMALL) as work:
        assert [entry for entry, _ in work.pack(entries)] == entries


def test_the_same_content_is_stored_once(store: LocalStore) -> None:
    """Within a publication, and in the next one."""
    for expected in (1, 0):
        with Packing(store, SMALL) as work:
            entries = [file_entry(b"/%d" % number, b"same") for number in range(200)]
            names = {stored.hash for _, stored in work.pack(entries) if stored}
            work.settle()
            assert (work.new_objects, len(names)) == (expected, 1)
    assert len(visible(store)) == 1


def test_nothing_is_visible_before_it_is_settled(store: LocalStore) -> None:
    """And what is left without leaves nothing."""
    with Packing(store, SMALL) as work:
        list(work.pack([file_entry(b"/a", b"a"), streamed_entry(b"/b", bytes(1000))]))
        assert visible(store) == set()
        assert temporaries(store)
    assert visible(store) == set()
    assert temporaries(store) == []


def test_very_many_objects_are_settled_on_the_way(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the table of what is staged stays small."""
    monkeypatch.setattr(packing, "_SETTLE_AFTER", 50)
    most = 0
    with Packing(store, SMALL) as work:
        for _ in work.pack(file_entry(b"/%d" % number, b"%d" % number) for number in range(1500)):
            most = max(most, len(temporaries(store)))
        work.settle()
        assert work.new_objects == 1500
    assert len(visible(store)) == 1500
    assert most < 500


@pytest.mark.parametrize("few_bytes", [0, 10_000])
def test_only_so_many_entries_are_under_way(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, few_bytes: int
) -> None:
    """The source is asked for more only as results are taken."""
    monkeypatch.setattr(packing, "_FEW_BYTES", few_bytes)
    monkeypatch.setattr(packing, "_ENTRY_BYTES", 0)
    monkeypatch.setattr(packing, "_BATCH_BYTES", 200)
    monkeypatch.setattr(workers, "_AHEAD", 5)
    asked = 0

    def entries() -> Iterator[SourceEntry]:
        nonlocal asked
        for asked in range(1, 501):
            yield file_entry(b"/%d" % asked, bytes(100))

    with Packing(store, SMALL) as work:
        for taken, _ in enumerate(work.pack(entries()), start=1):
            assert asked - taken < 20 + few_bytes / 100


def test_entries_without_content_are_not_collected(store: LocalStore) -> None:
    """A million links are not kept in memory until there is a file."""
    asked = 0

    def entries() -> Iterator[SourceEntry]:
        nonlocal asked
        for asked in range(1, 20_001):
            yield file_entry(b"/%d" % asked, None)

    with Packing(store, SMALL) as work:
        next(work.pack(entries()))
    assert asked < 10_000


def test_a_stream_is_read_before_the_next_entry_is_asked_for(store: LocalStore) -> None:
    """Afterwards a tarball has nothing more to give of it."""
    streams = [streamed_entry(b"/%d" % number, bytes(number * 100)) for number in range(20)]

    def entries() -> Iterator[SourceEntry]:
        for entry in streams:
            yield entry
            assert entry.stream is not None
            assert entry.stream.read() == b""

    with Packing(store, SMALL) as work:
        assert len(list(work.pack(entries()))) == 20


def test_what_cannot_be_read_is_told_by_its_name(store: LocalStore, tmp_path: Path) -> None:
    """A file that went away meanwhile, say."""

    def gone() -> IO[bytes]:
        return (tmp_path / "gone").open("rb")

    entry = SourceEntry(b"/gone", Attributes(stat.S_IFREG), content=gone)
    with pytest.raises(ConfigError, match=r"gone.*No such file"), Packing(store, SMALL) as work:
        list(work.pack([file_entry(b"/a", b"a"), entry]))
    assert temporaries(store) == []


def test_an_error_of_the_source_leaves_nothing(store: LocalStore) -> None:
    """What was staged before it is thrown away."""

    def entries() -> Iterator[SourceEntry]:
        yield streamed_entry(b"/a", b"a")
        raise FormatError("broken")

    with pytest.raises(FormatError), Packing(store, SMALL) as work:
        list(work.pack(entries()))
    assert temporaries(store) == []
    assert visible(store) == set()


def test_a_store_that_cannot_be_written_is_told(store: LocalStore) -> None:
    """By the thread that noticed, to whoever asks for the result."""
    (store.root / "data" / "txn").rmdir()
    with pytest.raises(StoreUnavailable), Packing(store, SMALL) as work:
        list(work.pack([file_entry(b"/a", b"a")]))


def test_catalogs_are_packed_even_if_contents_are_not(store: LocalStore) -> None:
    """The format has no flag for them."""
    with Packing(store, PackingOptions(is_packed=False)) as work:
        name = work.store(b"catalog", Suffix.CATALOG)
        work.settle()
    assert name == ContentHash.of(Algorithm.SHA1, zlib.compress(b"catalog"), Suffix.CATALOG)
