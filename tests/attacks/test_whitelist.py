"""The whitelist: altered, out of date, for another repository, by another key, or too short."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

import pytest

from mirror.cvmfs.paths import WHITELIST, WHITELIST_PKCS7
from tests.support.hostile_http import Endless
from tests.support.keys import Keys, letter
from tests.support.siege import Part, Siege

_INSIDE_PAYLOAD: Final = 0
_INSIDE_HASH_TEXT: Final = -260
_INSIDE_SIGNATURE: Final = -1


@pytest.mark.parametrize("index", [_INSIDE_PAYLOAD, _INSIDE_HASH_TEXT, _INSIDE_SIGNATURE])
def test_flipped_byte(siege: Siege, index: int) -> None:
    """Neither the text nor its hash nor the signature may be touched."""
    siege.repository.flip(WHITELIST, index)
    siege.assert_repelled(4, "BadSignature", WHITELIST)
    siege.assert_recovers()


def test_expired(siege: Siege) -> None:
    """A whitelist counts until the hour it names, and no longer."""
    siege.repository.write_whitelist(expires_at=datetime.now(UTC) - timedelta(hours=1))
    siege.assert_repelled(4, "WhitelistExpired", WHITELIST, "expired")
    siege.assert_recovers()


def test_of_another_repository(siege: Siege) -> None:
    """The master key's whitelist of another repository says nothing about ours."""
    siege.repository.write_whitelist(fqrn="other.example.org")
    siege.assert_repelled(4, "NameMismatch", WHITELIST, "other.example.org")
    siege.assert_recovers()


def test_by_another_master_key(siege: Siege, other_keys: Keys) -> None:
    """A whitelist that is perfect but for its signer is nobody's."""
    siege.repository.write_whitelist(keys=other_keys)
    siege.assert_repelled(4, "BadSignature", WHITELIST, "master key")
    siege.assert_recovers()


def test_certificate_not_listed(siege: Siege, other_keys: Keys) -> None:
    """A certificate that is not listed may sign nothing."""
    siege.repository.write_whitelist(lines=[str(other_keys.fingerprint())])
    siege.assert_repelled(4, "CertificateNotListed", str(siege.repository.keys.fingerprint()))
    siege.assert_recovers()


def test_certificate_only_in_a_comment(siege: Siege) -> None:
    """What stands behind a # lists nothing."""
    siege.repository.write_whitelist(lines=[f"# {siege.repository.keys.fingerprint()}"])
    siege.assert_repelled(4, "CertificateNotListed", "none")
    siege.assert_recovers()


def test_certificate_blacklisted(siege: Siege) -> None:
    """A stolen certificate is refused by whoever blacklists it, listed or not."""
    siege.configure(blacklist=f"# stolen\n{siege.repository.keys.fingerprint()}\n")
    siege.assert_repelled(4, "Blacklisted", "certificate", "blacklist")
    siege.assert_recovers()


def test_demands_what_we_cannot_check(siege: Siege) -> None:
    """A whitelist that wants more checks than we know is not believed with fewer."""
    siege.repository.write_whitelist(lines=["Wcachain", str(siege.repository.keys.fingerprint())])
    siege.assert_repelled(4, "TrustError", "Wcachain")
    siege.assert_recovers()


def test_companion_missing(siege: Siege) -> None:
    """A whitelist whose other half is not there is not published."""
    siege.repository.write_whitelist(lines=["Vpkcs7", str(siege.repository.keys.fingerprint())])
    siege.assert_repelled(3, "NotFound", WHITELIST_PKCS7)
    siege.assert_recovers()


@pytest.mark.parametrize(
    "text",
    [
        "2026010100000\nE20990101000000\nNtest.example.org\n",
        "20260101000000\nE2099010100000\nNtest.example.org\n",
        "20260101000000\nE20991301000000\nNtest.example.org\n",
        "20260101000000\n20990101000000\nNtest.example.org\n",
        "20260101000000\nE20990101000000\ntest.example.org\n",
        "20260101000000\nE20990101000000\n",
    ],
)
def test_of_the_wrong_form(siege: Siege, text: str) -> None:
    """Dates have 14 digits and a place of their own, even under a good signature."""
    repository = siege.repository
    signed = letter(text.encode(), repository.algorithm, repository.keys.sign_whitelist)
    repository.files[WHITELIST] = signed
    siege.assert_repelled(4, "FormatError", WHITELIST)
    siege.assert_recovers()


def test_endless(siege: Siege) -> None:
    """A whitelist is read up to the limit for it and no further."""
    endless = Endless()
    siege.attack(Part.WHITELIST, endless)
    siege.assert_repelled(3, "TooLarge", WHITELIST)
    siege.assert_recovers()
    assert endless.sent_bytes < 16 * 1024 * 1024  # the limit, and what the kernel buffers
