"""Database files: both schemas, reloaded when they change, refused when they are damaged."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from random import Random

import pytest

from mirror.errors import FormatError
from mirror.geo.databases import Databases
from mirror.geo.mmdb import Database, location_in
from tests.support.geo_world import Point, small_world, write_database

HERE: dict[str, Point | None] = {"192.0.2.0/24": (1.0, 2.0), "2001:db8::/32": (3.0, 4.0)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database of two networks."""
    write_database(tmp_path / "city.mmdb", HERE)
    return tmp_path / "city.mmdb"


def databases(*paths: Path) -> tuple[Databases, list[str]]:
    """Looked at once, and what was said."""
    said: list[str] = []
    found = Databases(paths, said.append)
    found.refresh()
    return found, said


@pytest.mark.parametrize("is_flat", [False, True])
@pytest.mark.parametrize("version", [4, 6])
def test_schemas_and_families(tmp_path: Path, version: int, *, is_flat: bool) -> None:
    """Each address is found where it is; IPv6 is unknown to a file of IPv4, and no trouble."""
    path = tmp_path / "city.mmdb"
    write_database(path, HERE, is_flat=is_flat, version=version)
    database = Database.open(path)
    place = database.place("192.0.2.7")
    assert place is not None
    assert place.location == (1.0, 2.0)
    v6 = database.place("2001:db8::7")
    assert (v6.location if v6 else None) == ((3.0, 4.0) if version == 6 else None)
    assert database.place("203.0.113.1") is None


@pytest.mark.parametrize(
    "record",
    [
        *(None, 7, "x", [], {}, {"location": {}}, {"location": None}, {"latitude": 1.0}),
        *({"location": {"latitude": 1.0}}, {"latitude": "x", "longitude": "y"}),
        {"latitude": float("nan"), "longitude": 1.0},
    ],
)
def test_records_without_a_location(record: object) -> None:
    """Whatever is in a record, it is no crash."""
    assert location_in(record) is None


def test_the_first_that_knows_where_counts(tmp_path: Path) -> None:
    """One that knows an address but not where it is is asked in vain."""
    write_database(tmp_path / "a.mmdb", {"192.0.2.0/24": None, "198.51.100.0/24": (9.0, 9.0)})
    write_database(tmp_path / "b.mmdb", HERE)
    found, _ = databases(tmp_path / "a.mmdb", tmp_path / "b.mmdb")
    place = found.place("192.0.2.1")
    assert place is not None
    assert (place.location, place.source) == ((1.0, 2.0), "b.mmdb")


def test_a_changed_file_is_read(path: Path) -> None:
    """Renamed into place, or written over; an unchanged one is left alone."""
    found, _ = databases(path)
    found.refresh()
    assert found.generation == 1
    write_database(path.with_name("new"), {"192.0.2.0/24": (5.0, 6.0)})
    path.with_name("new").replace(path)
    found.refresh()
    assert found.generation == 2
    write_database(path, {"192.0.2.0/24": (7.0, 8.0), **dict(small_world().networks)})
    found.refresh()
    place = found.place("192.0.2.1")
    assert place is not None
    assert place.location == (7.0, 8.0)


@pytest.mark.parametrize("damage", ["empty", "text", "cut", "no end", "country", "gone", "middle"])
def test_a_damaged_file_is_refused(path: Path, damage: str) -> None:
    """Once for each time it changes; the old one stays, even where the file was written over."""
    found, said = databases(path)
    content = path.read_bytes()
    match damage:
        case "empty":
            path.write_bytes(b"")
        case "text":
            path.write_text("<html>Not today</html>")
        case "cut":
            path.write_bytes(content[: len(content) // 2])
        case "no end":
            path.write_bytes(content[:-100])
        case "country":
            write_database(path, {"192.0.2.0/24": None})
        case "gone":
            path.unlink()
        case "middle":
            at = content.index(b"\xab\xcd\xefMaxMind.com") - 60
            path.write_bytes(content[:at] + b"\xff" * 60 + content[at + 60 :])
    found.refresh()
    found.refresh()
    place = found.place("192.0.2.1")
    assert place is not None
    assert place.location == (1.0, 2.0)
    assert (len(said), found.refused) == (1, 1)
    assert "stays in use" in said[0]


def test_bit_rot_is_no_crash(tmp_path: Path) -> None:
    """A file with a few wrong bytes is refused, or answers something."""
    random, good = Random(2), tmp_path / "good.mmdb"
    write_database(good, small_world().networks)
    content = good.read_bytes()
    refused = 0
    for _ in range(300):
        rotten = bytearray(content)
        for _ in range(random.choice((1, 4, 40))):
            rotten[random.randrange(len(rotten))] = random.randrange(256)
        (tmp_path / "rotten.mmdb").write_bytes(rotten)
        try:
            database = Database.open(tmp_path / "rotten.mmdb")
        except FormatError:
            refused += 1
            continue
        for address in ("128.142.0.1", "2001:1458::1", "255.255.255.255"):
            database.place(address)
    assert refused > 50


def test_none_at_the_start(path: Path) -> None:
    """Said once, and taken up when it comes."""
    away = path.with_name("away")
    shutil.move(path, away)
    found, said = databases(path)
    found.refresh()
    assert not found
    assert len(said) == 1
    assert "not used" in said[0]
    shutil.move(away, path)
    found.refresh()
    assert found
    assert found.built_at is not None


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_one_that_may_not_be_read(path: Path) -> None:
    """Is told by its path and the reason."""
    path.chmod(0)
    _, (said,) = databases(path)
    assert said.startswith(f"{path}: Permission denied")
