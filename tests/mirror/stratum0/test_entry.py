"""Entries: which bits tell what, and how extended attributes are packed."""

from __future__ import annotations

import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.cvmfs.content_hash import Algorithm, ContentHash
from mirror.stratum0.entry import (
    Attributes,
    Chunk,
    Stored,
    kind_flags,
    name_of,
    pack_xattrs,
    parent_of,
)

HASH = ContentHash.of(Algorithm.SHA1, b"")


def unpack_xattrs(packed: bytes) -> dict[bytes, bytes]:
    """Read the reference's form: version 1, count, then two lengths, name and value each."""
    assert packed[0] == 1
    found, position = {}, 2
    for _ in range(packed[1]):
        name_bytes, value_bytes = packed[position], packed[position + 1]
        value_at = position + 2 + name_bytes
        found[packed[position + 2 : value_at]] = packed[value_at : value_at + value_bytes]
        position = value_at + value_bytes
    assert position == len(packed)
    return found


@given(st.dictionaries(st.binary(min_size=1, max_size=255), st.binary(max_size=255), max_size=20))
def test_packed_xattrs_hold_all_of_them(xattrs: dict[bytes, bytes]) -> None:
    """Names and values of up to 255 bytes come back, whatever they are; none is NULL."""
    packed = pack_xattrs(xattrs)
    assert (unpack_xattrs(packed) if packed else {}) == xattrs
    assert packed is None or list(unpack_xattrs(packed)) == sorted(xattrs)


def test_xattrs_that_the_format_cannot_hold_are_left_out() -> None:
    """Long values, long names and the 256th attribute stay behind; the others do not suffer."""
    assert pack_xattrs({b"user.a": bytes(256), b"u" * 256: b"", b"": b""}) is None
    many = {b"user.%03d" % number: b"" for number in range(300)}
    packed = pack_xattrs(many | {b"user.long": bytes(256)})
    assert packed is not None
    assert list(unpack_xattrs(packed)) == sorted(many)[:255]


@pytest.mark.parametrize(
    ("kind", "flags"),
    [
        (stat.S_IFDIR, 1),
        (stat.S_IFREG, 4),
        (stat.S_IFLNK, 12),
        (stat.S_IFIFO, 20),
        (stat.S_IFCHR, 20),
        (stat.S_IFBLK, 20),
        (stat.S_IFSOCK, 20),
    ],
)
def test_flags_tell_the_kind(kind: int, flags: int) -> None:
    """As catalogs have them: links and special files are files too."""
    assert kind_flags(Attributes(kind | 0o644)) == flags


@pytest.mark.parametrize("algorithm", list(Algorithm))
@pytest.mark.parametrize("is_packed", [True, False])
def test_flags_tell_how_the_content_is_stored(algorithm: Algorithm, *, is_packed: bool) -> None:
    """Bits 8 to 10 the hash, 11 to 13 the compression, 6 whether there are chunks."""
    whole = Stored(1, HASH, (), is_packed, algorithm)
    chunked = Stored(2, None, (Chunk(0, 1, HASH), Chunk(1, 1, HASH)), is_packed, algorithm)
    assert whole.flags >> 8 & 7 == algorithm
    assert whole.flags >> 11 & 7 == (0 if is_packed else 1)
    assert chunked.flags == whole.flags | 64


@pytest.mark.parametrize(
    ("path", "parent", "name"),
    [(b"", b"", b""), (b"/a", b"", b"a"), (b"/a/b", b"/a", b"b"), (b"/\xff/\n", b"/\xff", b"\n")],
)
def test_paths_are_bytes(path: bytes, parent: bytes, name: bytes) -> None:
    """The root is empty, and is its own parent."""
    assert (parent_of(path), name_of(path)) == (parent, name)
