"""Keys of a publisher, and the two ways in which they sign (contract B.2)."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import (
    CertificateIssuerPrivateKeyTypes,
    CertificatePublicKeyTypes,
)
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from mirror.cvmfs.certificate import Certificate, Fingerprint
from mirror.cvmfs.content_hash import Algorithm, ContentHash
from mirror.trust.master_keys import MasterKeys

FIXTURE_NAME: Final = "software.example.org"
_FIXTURE_KEYS: Final = Path(__file__).parents[1] / "data" / "keys"
_BITS: Final = 2048

Sign = Callable[[bytes], bytes]
"""Printed hash → signature."""


@dataclass(frozen=True, slots=True)
class Keys:
    """Everything that a Stratum 0 signs with.

    Attributes:
        master: signs whitelists.
        publisher: signs manifests.
        certificate: the publisher key's, in PEM.
    """

    master: rsa.RSAPrivateKey
    publisher: rsa.RSAPrivateKey
    certificate: bytes

    @classmethod
    def generate(cls) -> Keys:
        """Make new ones; slow, so use the session's fixtures ``keys`` and ``other_keys``."""
        master, publisher = (rsa.generate_private_key(65537, _BITS) for _ in range(2))
        return cls(master, publisher, self_signed(publisher))

    @classmethod
    def from_fixture(cls) -> Keys:
        """Those of the fixture repository."""

        def load(suffix: str) -> rsa.RSAPrivateKey:
            key = load_pem_private_key(
                (_FIXTURE_KEYS / f"{FIXTURE_NAME}.{suffix}").read_bytes(), None
            )
            assert isinstance(key, rsa.RSAPrivateKey)
            return key

        certificate = (_FIXTURE_KEYS / f"{FIXTURE_NAME}.crt").read_bytes()
        return cls(load("masterkey"), load("key"), certificate)

    @property
    def master_pem(self) -> bytes:
        """The public master key, as operators are given it."""
        return self.master.public_key().public_bytes(
            Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
        )

    @property
    def master_keys(self) -> MasterKeys:
        """The same, ready to verify with."""
        return MasterKeys((self.master.public_key(),), "the test's keys")

    @property
    def stored_certificate(self) -> bytes:
        """The certificate as object …X is stored."""
        return zlib.compress(self.certificate)

    def fingerprint(self, algorithm: Algorithm = Algorithm.SHA1) -> Fingerprint:
        """The certificate's, for whitelists."""
        return Certificate.parse_pem(self.certificate).fingerprint(algorithm)

    def sign_manifest(self, printed_hash: bytes) -> bytes:
        """PKCS#1 v1.5 with SHA-1 over the printed hash."""
        return self.publisher.sign(printed_hash, padding.PKCS1v15(), SHA1())

    def sign_whitelist(self, printed_hash: bytes) -> bytes:
        """The printed hash itself under type 1 padding, without DigestInfo."""
        return sign_raw(self.master, printed_hash)


def sign_raw(key: rsa.RSAPrivateKey, message: bytes, block: bytes | None = None) -> bytes:
    """Encrypt ``message`` with the private key, padded by ``block`` or else as it should be."""
    size = key.key_size // 8
    padding_bytes = b"\xff" * (size - 3 - len(message))
    padded = block if block is not None else b"\x00\x01" + padding_bytes + b"\x00" + message
    numbers = key.private_numbers()
    power = pow(int.from_bytes(padded, "big"), numbers.d, numbers.public_numbers.n)
    return power.to_bytes(size, "big")


def letter(text: bytes, algorithm: Algorithm, sign: Sign) -> bytes:
    """Signed text: the text, dashes, its printed hash, and the signature of that."""
    printed_hash = ContentHash.of(algorithm, text).text.encode()
    return text + b"--\n" + printed_hash + b"\n" + sign(printed_hash)


def self_signed(
    key: CertificateIssuerPrivateKeyTypes, public_key: CertificatePublicKeyTypes | None = None
) -> bytes:
    """A certificate in PEM, signed by ``key`` and for it; its dates do not matter to anyone.

    Args:
        key: what signs.
        public_key: what is certified instead of the key's own public half.
    """
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test publisher")])
    start = datetime(2020, 1, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder(
        name,
        name,
        public_key or key.public_key(),
        x509.random_serial_number(),
        start,
        start.replace(year=2099),
    )
    return builder.sign(key, SHA256()).public_bytes(Encoding.PEM)
