from __future__ import annotations

import zlib
from io import BytesIO
from pathlib import Path

import pytest

from mirror.cvmfs.content_hash import Algorithm, ContentHash, Suffix
from mirror.cvmfs.limits import Limits
from mirror.errors import FormatError, StoreFull, StoreUnavailable
from mirror.replication import catalog_file
from mirror.replication.catalog_file import open_catalog
from mirror.replication.graph import CatalogRef, Role
from tests.support.databases import Entry, Flag, catalog_database
from tests.support.disks import tiny_disk

OBJECT = ContentHash.of(Algorithm.SHA1, b"object")
DATABASE = catalog_database([Entry("/app/file", Flag.FILE, OBJECT, 6)])
REF = CatalogRef(ContentHash.of(Algorithm.SHA1, b"", Suffix.CATALOG), "/app", Role.NESTED)


@pytest.fixture(params=[True, False], ids=["memory", "file"])
def is_in_memory(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the catalog is small enough for memory."""
    fits: bool = request.param
    if not fits:
        monkeypatch.setattr(catalog_file, "_IN_MEMORY_BYTES", 1000)
    return fits


@pytest.mark.usefixtures("is_in_memory")
def test_a_catalog_can_be_read(tmp_path: Path) -> None:
    """It is open, its packed bytes are not, and no file of it has a name."""
    packed = BytesIO(zlib.compress(DATABASE))
    with open_catalog(packed, REF, tmp_path, Limits()) as catalog:
        assert packed.closed
        assert not list(tmp_path.iterdir())
        assert catalog.mount_point == "/app"
        assert [ref.hash for ref in catalog.objects()] == [OBJECT]


def test_small_ones_need_no_directory(tmp_path: Path) -> None:
    """A small catalog is never a file."""
    packed = BytesIO(zlib.compress(DATABASE))
    open_catalog(packed, REF, tmp_path / "absent", Limits()).close()


@pytest.mark.usefixtures("is_in_memory")
@pytest.mark.parametrize(
    ("packed", "said"),
    [
        (DATABASE, "is not a zlib stream"),
        (zlib.compress(DATABASE)[:-5], "is a zlib stream cut short"),
        (zlib.compress(b"no database" * 1000), "is not a sound SQLite file"),
        (zlib.compress(bytes(2**20)), "unpacks to more than 100000 bytes"),
    ],
    ids=["not packed", "cut short", "no catalog", "bomb"],
)
def test_what_is_no_catalog(tmp_path: Path, packed: bytes, said: str) -> None:
    """It is told by name and place, and leaves nothing behind."""
    source = BytesIO(packed)
    with pytest.raises(FormatError, match=rf"the catalog data/\S+C at /app {said}"):
        open_catalog(source, REF, tmp_path, Limits(catalog_bytes=100_000))
    assert source.closed
    assert not list(tmp_path.iterdir())


def test_no_room_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full is told as such, and leaves nothing behind."""
    monkeypatch.setattr(catalog_file, "_IN_MEMORY_BYTES", 1000)
    large = catalog_database(Entry(f"/app/{n}", Flag.FILE, OBJECT, 6) for n in range(5000))
    with tiny_disk(tmp_path / "disk", 64 * 1024) as disk:
        with pytest.raises(StoreFull):
            open_catalog(BytesIO(zlib.compress(large)), REF, disk, Limits())
        assert not list(disk.iterdir())


def test_no_directory_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A place that is no directory is our own affair, whatever the catalog is."""
    monkeypatch.setattr(catalog_file, "_IN_MEMORY_BYTES", 1000)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreUnavailable):
        open_catalog(BytesIO(zlib.compress(DATABASE)), REF, tmp_path / "file", Limits())
