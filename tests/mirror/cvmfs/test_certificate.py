from __future__ import annotations

import base64
import zlib

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from mirror.cvmfs.certificate import Certificate, Fingerprint
from mirror.cvmfs.content_hash import Algorithm, ContentHash
from mirror.errors import FormatError
from tests.support.hostile import mutated, survives
from tests.support.keys import Keys, self_signed

LIMIT = 10_000
REAL = Keys.from_fixture()
DER = Certificate.parse_pem(REAL.certificate).der


def pem(der: bytes) -> bytes:
    """Bytes in the dress of a certificate."""
    lines = base64.encodebytes(der)
    return b"-----BEGIN CERTIFICATE-----\n" + lines + b"-----END CERTIFICATE-----\n"


def test_real_certificate() -> None:
    """The publisher's key is found in its certificate as stored."""
    certificate = Certificate.parse(REAL.stored_certificate, LIMIT)
    assert certificate.public_key.public_numbers() == REAL.publisher.public_key().public_numbers()


def test_fingerprints_are_over_the_der() -> None:
    """A certificate has a fingerprint by each algorithm, as `openssl x509 -fingerprint` has it."""
    certificate = Certificate.parse_pem(REAL.certificate)
    printed = "49:FF:D4:EA:A0:51:03:53:9C:2D:B6:1D:B8:7D:CA:9A:95:6F:95:33"
    assert str(certificate.fingerprint(Algorithm.SHA1)) == printed
    assert certificate.fingerprints == {
        Fingerprint(ContentHash.of(algorithm, DER)) for algorithm in Algorithm
    }


def test_size_is_limited() -> None:
    """No more is unpacked than the limit."""
    with pytest.raises(FormatError, match="the certificate unpacks to more"):
        Certificate.parse(zlib.compress(bytes(LIMIT + 1)), LIMIT)


@pytest.mark.parametrize("content", [b"", b"nonsense", pem(b""), pem(b"nonsense"), pem(DER[:-1])])
def test_other_texts_are_refused(content: bytes) -> None:
    """What is no certificate in PEM is refused."""
    with pytest.raises(FormatError, match="cannot be read"):
        Certificate.parse_pem(content)


def test_unknown_versions_are_refused(keys: Keys) -> None:
    """A certificate of a version that does not exist is refused like any other nonsense."""
    der = Certificate.parse_pem(keys.certificate).der
    version_3, version_8 = bytes.fromhex("a003020102"), bytes.fromhex("a003020107")
    assert version_3 in der
    with pytest.raises(FormatError, match="cannot be read"):
        Certificate.parse_pem(pem(der.replace(version_3, version_8, 1)))


def test_keys_other_than_rsa_are_refused() -> None:
    """Manifests are signed by RSA, so nothing else can vouch for one."""
    key = ec.generate_private_key(ec.SECP256R1())
    with pytest.raises(FormatError, match="no RSA key"):
        Certificate.parse_pem(self_signed(key))


def test_huge_keys_are_refused(keys: Keys) -> None:
    """A key that takes for ever to verify with is refused before anybody tries."""
    large, huge = (rsa.RSAPublicNumbers(65537, (1 << n) + 1).public_key() for n in (16_383, 16_384))
    Certificate.parse_pem(self_signed(keys.publisher, large))
    with pytest.raises(FormatError, match="has 16385 bits"):
        Certificate.parse_pem(self_signed(keys.publisher, huge))


fingerprints = st.builds(
    Fingerprint,
    st.builds(ContentHash, st.sampled_from(Algorithm), st.binary(min_size=20, max_size=20)),
)


@given(fingerprints)
def test_parse_inverts_format(fingerprint: Fingerprint) -> None:
    """A fingerprint is read as it is printed, and just as well without colons or in lower case."""
    text = str(fingerprint)
    assert Fingerprint.parse(text) == fingerprint
    assert Fingerprint.parse(text.replace(":", "").lower()) == fingerprint


@pytest.mark.parametrize(
    "text",
    [
        "",
        "AB",
        "AB:" * 20 + "AB",
        "AB" * 20 + "-MD5",
        "GG" * 20,
        "\N{LATIN SMALL LETTER LONG S}" * 40,
    ],
)
def test_other_texts_are_no_fingerprint(text: str) -> None:
    """A fingerprint has 20 bytes and a known algorithm."""
    with pytest.raises(FormatError, match="is no fingerprint"):
        Fingerprint.parse(text)


@given(st.text())
def test_any_text_is_a_fingerprint_or_refused(text: str) -> None:
    """No text makes it fail in another way."""
    survives(Fingerprint.parse, text)


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
@given(st.binary() | mutated(REAL.certificate) | mutated(DER, 3).map(pem))
def test_any_bytes_are_a_certificate_or_refused(content: bytes) -> None:
    """No bytes make it fail in another way."""
    survives(Certificate.parse_pem, content)
