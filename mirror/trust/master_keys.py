"""Master keys: the public halves, as files hand them to us (contract B.2)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from mirror.cvmfs.letter import Letter
from mirror.errors import BadSignature, ConfigError
from mirror.trust.signature import is_signed_raw

_MAX_KEY_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class MasterKeys:
    """One or more keys; a whitelist signed by any of them is good.

    Attributes:
        keys: in the order of their file names.
        origin: where they came from, for errors.
    """

    keys: tuple[rsa.RSAPublicKey, ...]
    origin: str

    @classmethod
    def load(cls, path: Path) -> MasterKeys:
        """Read a PEM file, or all ``*.pub`` of a directory.

        Raises:
            ConfigError: nothing there, or something that is no RSA public key.
        """
        try:
            files = sorted(path.glob("*.pub")) if path.is_dir() else [path]
            if not files:
                raise ConfigError([f"{path}: no *.pub file in this directory; put the key there"])
            return cls(tuple(_load(file) for file in files), str(path))
        except OSError as error:
            raise ConfigError([f"{error.filename or path}: {error.strerror}"]) from error

    @classmethod
    def from_pem(cls, pems: Iterable[bytes], origin: str) -> MasterKeys:
        """Take keys from memory.

        Raises:
            ConfigError: one of them is no RSA public key.
        """
        return cls(tuple(_parse(pem, origin) for pem in pems), origin)

    def require_signed(self, letter: Letter, what: str) -> None:
        """Check that one of the keys signed the letter's printed hash.

        Raises:
            BadSignature: none did.
        """
        if not any(is_signed_raw(key, letter.printed_hash, letter.signature) for key in self.keys):
            raise BadSignature(
                f"{what} is not signed by any of the {len(self.keys)} master key(s) "
                f"in {self.origin}; is it the right key for this repository?"
            )


def _load(file: Path) -> rsa.RSAPublicKey:
    with file.open("rb") as stream:
        return _parse(stream.read(_MAX_KEY_BYTES), str(file))


def _parse(pem: bytes, origin: str) -> rsa.RSAPublicKey:
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError([f"{origin}: not a public key in PEM: {error}"]) from error
    if not isinstance(key, rsa.RSAPublicKey):
        raise ConfigError([f"{origin}: not an RSA key; CernVM-FS master keys are RSA"])
    return key
