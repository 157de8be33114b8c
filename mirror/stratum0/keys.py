"""The publisher's keys, and what they sign (contract B.2, B.4).

    <directory>/<fqrn>.masterkey   signs the whitelist
    <directory>/<fqrn>.pub         its public half: what mirrors and clients are given
    <directory>/<fqrn>.key         signs manifests
    <directory>/<fqrn>.crt         the certificate that belongs to it

The names are those of cvmfs_server, so keys made by either serve both.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from mirror.cvmfs.certificate import Certificate, Fingerprint
from mirror.cvmfs.content_hash import Algorithm, ContentHash
from mirror.cvmfs.fqrn import Fqrn
from mirror.cvmfs.letter import Letter
from mirror.errors import ConfigError
from mirror.trust.signature import is_signed_raw

_KEY_BITS: Final = 2048
_CERTIFICATE_YEARS: Final = 30
_SECRET_MODE: Final = 0o400
_PUBLIC_MODE: Final = 0o444
WHITELIST_DAYS: Final = 30


@dataclass(frozen=True, slots=True)
class PublisherKeys:
    """Both private keys; whoever holds them is the publisher.

    Attributes:
        master: signs whitelists.
        publisher: signs manifests.
        certificate: of the publisher, PEM.
    """

    master: rsa.RSAPrivateKey = field(repr=False)
    publisher: rsa.RSAPrivateKey = field(repr=False)
    certificate: bytes = field(repr=False)

    @classmethod
    def load_or_make(cls, directory: Path, fqrn: Fqrn) -> PublisherKeys:
        """Read the four files, or make all of them if none is there.

        Raises:
            ConfigError: some are missing, unreadable, or do not belong together.
        """
        names = [directory / f"{fqrn}.{kind}" for kind in ("masterkey", "pub", "key", "crt")]
        there = [path for path in names if path.exists()]
        if there and len(there) < len(names):
            missing = ", ".join(str(path) for path in names if path not in there)
            raise ConfigError([f"{missing}: missing, though {there[0]} is there; restore it"])
        try:
            if not there:
                keys = cls.generate(fqrn)
                keys.write_to(directory, fqrn)
                return keys
            return cls._load(*names)
        except OSError as error:
            raise ConfigError([f"{error.filename}: {error.strerror}"]) from error

    @classmethod
    def generate(cls, fqrn: Fqrn) -> PublisherKeys:
        """Make new ones; takes a second."""
        master, publisher = (
            rsa.generate_private_key(public_exponent=65537, key_size=_KEY_BITS) for _ in range(2)
        )
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"{fqrn} CernVM-FS")])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(publisher.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=365 * _CERTIFICATE_YEARS))
            .sign(publisher, SHA256())
        )
        return cls(master, publisher, certificate.public_bytes(Encoding.PEM))

    @property
    def master_public_pem(self) -> bytes:
        """What mirrors and clients are given."""
        return self.master.public_key().public_bytes(
            Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
        )

    @property
    def fingerprints(self) -> frozenset[Fingerprint]:
        """How whitelists list the certificate."""
        return Certificate.parse_pem(self.certificate).fingerprints

    def has_signed(self, whitelist: Letter) -> bool:
        """Whether the master key did."""
        return is_signed_raw(self.master.public_key(), whitelist.printed_hash, whitelist.signature)

    def sign_manifest(self, fields: Sequence[tuple[str, str]], algorithm: Algorithm) -> bytes:
        """A signed manifest of these fields, in this order."""
        text = "".join(f"{key}{value}\n" for key, value in fields)
        return _letter(
            text,
            algorithm,
            lambda printed: self.publisher.sign(printed, padding.PKCS1v15(), SHA1()),  # noqa: S303 - the contract's choice
        )

    def sign_whitelist(
        self, fqrn: Fqrn, now: datetime, algorithm: Algorithm, days: int = WHITELIST_DAYS
    ) -> bytes:
        """A signed whitelist that lists our certificate and is valid for so many days."""
        fingerprint = Certificate.parse_pem(self.certificate).fingerprint(algorithm)
        expires = now + timedelta(days=days)
        text = f"{now:%Y%m%d%H%M%S}\nE{expires:%Y%m%d%H%M%S}\nN{fqrn}\n{fingerprint}\n"
        return _letter(text, algorithm, self._sign_raw)

    @property
    def packed_certificate(self) -> bytes:
        """The certificate as object …X holds it."""
        return zlib.compress(self.certificate)

    def _sign_raw(self, message: bytes) -> bytes:
        """RSA over the padded message itself, with no hash: what whitelists carry."""
        numbers = self.master.private_numbers()
        modulus = numbers.public_numbers.n
        size_bytes = (modulus.bit_length() + 7) // 8
        filling = b"\xff" * (size_bytes - 3 - len(message))
        block = int.from_bytes(b"\x00\x01" + filling + b"\x00" + message, "big")
        return pow(block, numbers.d, modulus).to_bytes(size_bytes, "big")

    @classmethod
    def _load(cls, master: Path, public: Path, publisher: Path, certificate: Path) -> PublisherKeys:
        pem = certificate.read_bytes()
        keys = cls(_private(master), _private(publisher), pem)
        if Certificate.parse_pem(pem).public_key != keys.publisher.public_key():
            raise ConfigError([f"{certificate} does not belong to {publisher}"])
        if public.read_bytes().split() != keys.master_public_pem.split():
            raise ConfigError([f"{public} does not belong to {master}"])
        return keys

    def write_to(self, directory: Path, fqrn: Fqrn) -> None:
        """Write the four files; none of them may be there.

        Raises:
            OSError: one is, or cannot be written.
        """
        directory.mkdir(parents=True, exist_ok=True)
        for kind, content, mode in (
            ("masterkey", _pem(self.master), _SECRET_MODE),
            ("key", _pem(self.publisher), _SECRET_MODE),
            ("pub", self.master_public_pem, _PUBLIC_MODE),
            ("crt", self.certificate, _PUBLIC_MODE),
        ):
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            with os.fdopen(os.open(directory / f"{fqrn}.{kind}", flags, mode), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())


def _letter(text: str, algorithm: Algorithm, sign: Callable[[bytes], bytes]) -> bytes:
    content = text.encode()
    printed = ContentHash.of(algorithm, content).text.encode()
    return content + b"--\n" + printed + b"\n" + sign(printed)


def _pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())


def _private(path: Path) -> rsa.RSAPrivateKey:
    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except (ValueError, TypeError) as error:
        raise ConfigError([f"{path}: not a private key in PEM without password"]) from error
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ConfigError([f"{path}: not an RSA key; CernVM-FS keys are RSA"])
    return key
