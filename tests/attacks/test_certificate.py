"""The publisher's certificate: altered on the way, or signed for and yet none."""

from __future__ import annotations

import zlib

import pytest

from mirror.cvmfs.content_hash import Suffix
from tests.support.keys import Keys
from tests.support.siege import Part, Siege


def test_flipped_byte(siege: Siege) -> None:
    """A certificate that was changed on the way does not have the hash it is named by."""
    path = siege.path(Part.CERTIFICATE)
    siege.repository.flip(path, 100)
    siege.assert_repelled(3, "Corrupted", path)
    siege.assert_recovers()


def test_of_a_stranger(siege: Siege, other_keys: Keys) -> None:
    """Somebody with a key of their own signs well, and is not on the whitelist."""
    certificate = siege.repository.add_object(other_keys.certificate, Suffix.CERTIFICATE)
    siege.repository.resign(other_keys, X=certificate.text)
    siege.assert_repelled(4, "CertificateNotListed", str(other_keys.fingerprint()))
    siege.assert_recovers()


@pytest.mark.parametrize(
    ("stored", "word"),
    [
        (zlib.compress(bytes(100 * 1024 * 1024)), "unpacks to more than"),
        (zlib.compress(b"-----BEGIN CERTIFICATE-----\n"), "cannot be read"),
        (b"-----BEGIN CERTIFICATE-----\n", "not a zlib stream"),
        (b"", "cut short"),
    ],
    ids=["bomb", "half", "unpacked", "empty"],
)
def test_no_certificate_at_all(siege: Siege, stored: bytes, word: str) -> None:
    """Bytes that the manifest names may be a bomb or rubbish, and nobody has vouched for them."""
    repository = siege.repository
    name = repository.add_object(stored, Suffix.CERTIFICATE, is_packed=False)
    repository.resign(X=name.text)
    siege.assert_repelled(4, "FormatError", "certificate", word)
    siege.assert_recovers()
