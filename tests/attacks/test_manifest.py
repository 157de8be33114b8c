"""The manifest: altered, somebody else's, or no manifest at all."""

from __future__ import annotations

import gzip
from typing import Final

import pytest

from mirror.cvmfs.paths import MANIFEST
from tests.support.hostile_http import Endless, content, raw
from tests.support.keys import Keys
from tests.support.siege import Part, Siege

_INSIDE_SIGNATURE: Final = -1
_INSIDE_HASH_TEXT: Final = -260
"""A signature of 2048 bits has 256 bytes; before it stand a newline and the hash."""


def test_flipped_payload(siege: Siege) -> None:
    """A field changed on the way is not what was signed."""
    siege.repository.flip(MANIFEST, siege.repository.files[MANIFEST].index(b"\nD240") + 2)
    siege.assert_repelled(4, "BadSignature", MANIFEST)
    siege.assert_recovers()


@pytest.mark.parametrize("index", [_INSIDE_HASH_TEXT, _INSIDE_SIGNATURE])
def test_flipped_seal(siege: Siege, index: int) -> None:
    """Neither the hash text nor the signature may be touched."""
    siege.repository.flip(MANIFEST, index)
    siege.assert_repelled(4, "BadSignature", MANIFEST)
    siege.assert_recovers()


def test_resealed_by_a_stranger(siege: Siege, other_keys: Keys) -> None:
    """A manifest that names our certificate is not signed by another's key."""
    siege.repository.resign(other_keys)
    siege.assert_repelled(4, "BadSignature", MANIFEST)
    siege.assert_recovers()


def test_of_another_repository(siege: Siege) -> None:
    """The publisher's manifest of another repository is no manifest of ours."""
    siege.repository.resign(N="other.example.org")
    siege.assert_repelled(4, "NameMismatch", "other.example.org")
    siege.assert_recovers()


def test_of_a_path_inside(siege: Siege) -> None:
    """A manifest is for the root of a repository and for no path in it."""
    siege.repository.resign(R="0" * 32)
    siege.assert_repelled(4, "NameMismatch", MANIFEST)
    siege.assert_recovers()


def test_without_name_is_no_attack(siege: Siege) -> None:
    """Field N is optional: old publishers leave it out."""
    siege.repository.resign(N=None)
    siege.assert_accepted()


@pytest.mark.parametrize("field", ["C", "R", "D", "S", "X"])
def test_without_a_required_field(siege: Siege, field: str) -> None:
    """A manifest that lacks what we need is named with what it lacks, though it is signed."""
    siege.repository.resign(**{field: None})
    siege.assert_repelled(4, "FormatError", MANIFEST, field)
    siege.assert_recovers()


@pytest.mark.parametrize(
    "body", [b"", b"<html><body>Welcome to the hotel</body></html>", b"\0" * 5000]
)
def test_no_manifest_at_all(siege: Siege, body: bytes) -> None:
    """Nothing, and what a captive portal says, is no manifest."""
    siege.attack(Part.MANIFEST, content(body))
    siege.assert_repelled(4, "FormatError", MANIFEST)
    siege.assert_recovers()


def test_endless(siege: Siege) -> None:
    """A manifest is read up to the limit for it and no further."""
    endless = Endless()
    siege.attack(Part.MANIFEST, endless)
    siege.assert_repelled(3, "TooLarge", MANIFEST)
    siege.assert_recovers()
    assert endless.sent_bytes < 16 * 1024 * 1024  # the limit, and what the kernel buffers


def test_declared_endless(siege: Siege) -> None:
    """What announces more bytes than can be right is not even begun."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n"
    siege.attack(Part.MANIFEST, raw(head))
    siege.assert_repelled(3, "TooLarge", MANIFEST, "1000000000000")
    siege.assert_recovers()


def test_really_packed(siege: Siege) -> None:
    """We ask for plain bytes; what is packed nevertheless is not unpacked, and is no manifest."""
    packed = gzip.compress(siege.bytes_of(Part.MANIFEST))
    siege.attack(Part.MANIFEST, content(packed, "gzip"))
    siege.assert_repelled(4, "FormatError", MANIFEST)
    siege.assert_recovers()
