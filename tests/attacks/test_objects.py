"""Data objects: wrong bytes, too few, too many, too slowly."""

from __future__ import annotations

import gzip

import pytest

from mirror.cvmfs.paths import object_path, parse_object_path
from tests.support.databases import Entry, Flag, Mount, catalog_database
from tests.support.hostile_http import Endless, content, poisoned_cache, raw, truncated
from tests.support.http_stratum0 import Seen
from tests.support.siege import IMPATIENT, Part, Siege

MIB = 1024 * 1024


@pytest.mark.parametrize("part", [Part.OBJECT, Part.CHUNK, Part.NESTED_CATALOG, Part.ROOT_CATALOG])
def test_flipped_byte(siege: Siege, part: Part) -> None:
    """One wrong bit, and an object is refused; it is asked for once more, past all caches."""
    path = siege.path(part)
    siege.repository.flip(path)
    siege.stratum0.requests.clear()
    siege.assert_repelled(3, "SnapshotFailed", path, "was delivered with the hash")
    asked = [seen for seen in siege.stratum0.requests if seen.path == path]
    assert asked == [Seen(path, is_past_caches=False), Seen(path, is_past_caches=True)]
    siege.assert_recovers()


@pytest.mark.parametrize("part", [Part.HISTORY, Part.META_INFO, Part.CERTIFICATE])
def test_flipped_byte_of_what_the_manifest_names(siege: Siege, part: Part) -> None:
    """The same is true of what the manifest names directly."""
    path = siege.path(part)
    siege.repository.flip(path)
    siege.assert_repelled(3, "Corrupted", path)
    siege.assert_recovers()


@pytest.mark.parametrize("part", [Part.OBJECT, Part.ROOT_CATALOG, Part.HISTORY, Part.CERTIFICATE])
def test_poisoned_cache(siege: Siege, part: Part) -> None:
    """A cache on the way with wrong bytes is no obstacle: it is told to stand aside."""
    siege.attack(part, poisoned_cache(b"?", siege.bytes_of(part)))
    siege.assert_accepted()


def test_swapped(siege: Siege) -> None:
    """A sound object in the place of another is as wrong as rubbish."""
    path = siege.attack(Part.OBJECT, content(siege.bytes_of(Part.CHUNK)))
    siege.assert_repelled(3, "SnapshotFailed", path, parse_object_path(siege.path(Part.CHUNK)).text)
    siege.assert_recovers()


@pytest.mark.parametrize("part", [Part.OBJECT, Part.ROOT_CATALOG])
@pytest.mark.parametrize("body", [b"", b"<html>Please log in</html>"])
def test_other_bytes(siege: Siege, part: Part, body: bytes) -> None:
    """Nothing at all, and what a captive portal says, is no object though the status is 200."""
    path = siege.attack(part, content(body))
    siege.assert_repelled(3, "SnapshotFailed", path, f"{len(body)} bytes")
    siege.assert_recovers()


@pytest.mark.parametrize("part", [Part.OBJECT, Part.ROOT_CATALOG])
def test_truncated(siege: Siege, part: Part) -> None:
    """A body shorter than announced is no body."""
    path = siege.attack(part, truncated(siege.bytes_of(part)))
    siege.assert_repelled(3, "SnapshotFailed", path, "cut short")
    siege.assert_recovers()


def test_truncated_unannounced(siege: Siege) -> None:
    """Where no length was announced, the hash tells that the end is missing."""
    half = siege.bytes_of(Part.CHUNK)[:100]
    path = siege.attack(Part.CHUNK, raw(b"HTTP/1.1 200 OK\r\n\r\n" + half))
    siege.assert_repelled(3, "SnapshotFailed", path, "was delivered with the hash", "100 bytes")
    siege.assert_recovers()


@pytest.mark.parametrize("part", [Part.OBJECT, Part.CHUNK, Part.NESTED_CATALOG, Part.ROOT_CATALOG])
def test_endless(siege: Siege, part: Part) -> None:
    """Reading stops where no more bytes can be right."""
    endless = Endless()
    path = siege.attack(part, endless)
    siege.assert_repelled(3, "SnapshotFailed", path, "it goes on")
    siege.assert_recovers()
    assert endless.sent_bytes < 32 * MIB  # twice the limit, and what the kernel buffers


@pytest.mark.parametrize("part", [Part.CERTIFICATE, Part.META_INFO])
def test_endless_beside_the_catalogs(siege: Siege, part: Part) -> None:
    """The same is true of what the manifest names directly."""
    endless = Endless()
    path = siege.attack(part, endless)
    siege.assert_repelled(3, "TooLarge", path, "it goes on")
    siege.assert_recovers()
    assert endless.sent_bytes < 32 * MIB  # twice the limit, and what the kernel buffers


def test_declared_endless(siege: Siege) -> None:
    """What announces more bytes than can be right is not even begun."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n"
    path = siege.attack(Part.HISTORY, raw(head))
    siege.assert_repelled(3, "TooLarge", path, "1000000000000")
    siege.assert_recovers()


def test_larger_than_its_catalog_says(siege: Siege) -> None:
    """A catalog that says "one byte" does not make us fetch many millions of them."""
    huge = siege.repository.add_object(bytes(3 * MIB), is_packed=False)
    siege.offer_catalog(catalog_database([Entry("/small", Flag.FILE, huge, 1)]))
    siege.assert_repelled(3, "SnapshotFailed", object_path(huge), "can be right")
    siege.assert_recovers()


@pytest.mark.parametrize("part", [Part.OBJECT, Part.NESTED_CATALOG])
def test_dripping(siege: Siege, part: Part) -> None:
    """A body that comes a byte at a time, and never stalls, is given up as too slow."""
    path = siege.attack(part, Endless(block=b"x", pause_s=0.05))
    siege.configure(IMPATIENT)
    siege.assert_repelled(3, "SnapshotFailed", path, "less than 1000 bytes a second")
    siege.assert_recovers()


def test_stalling(siege: Siege) -> None:
    """A body that begins and then stands still is given up."""
    path = siege.attack(Part.MANIFEST, Endless(block=b"x", pause_s=3600))
    siege.configure(IMPATIENT)
    siege.assert_repelled(3, "TooSlow", path)
    siege.assert_recovers()


def test_said_to_be_packed(siege: Siege) -> None:
    """A header about encodings changes no byte, so right bytes stay right."""
    for part in (Part.OBJECT, Part.ROOT_CATALOG, Part.MANIFEST):
        siege.attack(part, content(siege.bytes_of(part), "gzip"))
    siege.assert_accepted()


def test_really_packed(siege: Siege) -> None:
    """We ask for plain bytes; what is packed nevertheless has another hash."""
    path = siege.attack(Part.OBJECT, content(gzip.compress(siege.bytes_of(Part.OBJECT)), "gzip"))
    siege.assert_repelled(3, "SnapshotFailed", path, "was delivered with the hash")
    siege.assert_recovers()


def test_wrong_bytes_are_not_asked_for_endlessly(siege: Siege) -> None:
    """However many retries are configured, wrong bytes are asked for twice."""
    path = siege.attack(Part.OBJECT, content(b"?"))
    siege.configure("retries = 5\n")
    siege.assert_repelled(3, "SnapshotFailed", path)
    assert siege.stratum0.paths.count(path) == 2
    siege.assert_recovers()


def test_wrong_in_many_catalogs(siege: Siege) -> None:
    """An object that cannot be had is asked for once, however many catalogs want it."""
    repository = siege.repository
    broken = repository.add_object(b"broken")
    mounts = []
    for number in range(40):
        database = catalog_database([Entry(f"/{number}/file", Flag.FILE, broken, 6)])
        mounts.append(Mount(f"/{number}", repository.add_catalog(database), len(database)))
    siege.offer_catalog(catalog_database(nested=mounts))
    repository.drop(object_path(broken))
    siege.assert_repelled(3, "SnapshotFailed", object_path(broken), "1 object could not")
    assert siege.stratum0.paths.count(object_path(broken)) == 1
    siege.assert_recovers()
