"""The publisher's certificate, object …X, and fingerprints (contract B.2)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding

from mirror.cvmfs.compression import decompress
from mirror.cvmfs.content_hash import Algorithm, ContentHash
from mirror.errors import FormatError

_FINGERPRINT: Final = re.compile(r"([0-9a-f]{40})(|-rmd160|-shake128)", re.ASCII)
_MAX_KEY_BITS: Final = 16 * 1024
"""OpenSSL's bound: a stranger's key is used before it is trusted, so it must be cheap to use."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The hash of a certificate in DER, written ``AB:CD:…`` with an optional ``-RMD160``."""

    hash: ContentHash

    @classmethod
    def parse(cls, text: str) -> Fingerprint:
        """Read a fingerprint, in either case and with or without colons.

        Raises:
            FormatError: if it is none.
        """
        plain = text.replace(":", "").lower()
        if not _FINGERPRINT.fullmatch(plain):
            raise FormatError(f"{text[:80]!r} is no fingerprint: expected AB:CD:… of 20 bytes")
        return cls(ContentHash.parse(plain))

    def __str__(self) -> str:
        pairs = self.hash.digest.hex(":").upper()
        return pairs + self.hash.algorithm.label.upper()


@dataclass(frozen=True, slots=True)
class Certificate:
    """An X.509 certificate. Its dates are not looked at: the whitelist's expiry is what counts.

    Attributes:
        public_key: what manifests are verified with.
        der: the encoding that fingerprints are taken over.
    """

    public_key: rsa.RSAPublicKey = field(repr=False)
    der: bytes = field(repr=False)

    @classmethod
    def parse(cls, stored: bytes, max_bytes: int) -> Certificate:
        """Read the object as it is stored: PEM, packed by zlib.

        Raises:
            FormatError: not zlib, not a certificate, or not an RSA key.
        """
        return cls.parse_pem(decompress(stored, max_bytes, "the certificate"))

    @classmethod
    def parse_pem(cls, pem: bytes) -> Certificate:
        """Read the PEM text.

        Raises:
            FormatError: not a certificate, or not an RSA key.
        """
        try:
            certificate = x509.load_pem_x509_certificate(pem)
            public_key = certificate.public_key()
        except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
            raise FormatError(f"the certificate cannot be read: {error}") from error
        if not isinstance(public_key, rsa.RSAPublicKey):
            raise FormatError("the certificate holds no RSA key, and manifests are signed by RSA")
        if public_key.key_size > _MAX_KEY_BITS:
            raise FormatError(
                f"the certificate's key has {public_key.key_size} bits; {_MAX_KEY_BITS} is the "
                "limit for it"
            )
        return cls(public_key, certificate.public_bytes(Encoding.DER))

    def fingerprint(self, algorithm: Algorithm) -> Fingerprint:
        """The fingerprint by one of the three algorithms."""
        return Fingerprint(ContentHash.of(algorithm, self.der))

    @property
    def fingerprints(self) -> frozenset[Fingerprint]:
        """By all three, since lists may use any."""
        return frozenset(self.fingerprint(algorithm) for algorithm in Algorithm)
