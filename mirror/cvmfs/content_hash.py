"""Content hashes: the names of all objects (contract B.5).

A hash is taken over the bytes as stored, compressed or not. Every digest has 20 bytes; SHAKE-128
is read to 160 bits. In text SHA-1 is bare hex and the others carry their name: ``…-rmd160``.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Final, Protocol

from mirror.errors import FormatError

DIGEST_BYTES: Final = 20


class Hasher(Protocol):
    """The part of hashlib's objects that is used here."""

    def update(self, data: bytes | memoryview, /) -> object:
        """Take in more bytes."""

    def digest(self) -> bytes:
        """Give the 20 bytes over all that was taken in."""


class Algorithm(IntEnum):
    """Hash algorithms; the numbers are those in a catalog entry's flags (bits 8 to 10)."""

    SHA1 = 0
    RMD160 = 1
    SHAKE128 = 2

    @property
    def label(self) -> str:
        """What follows the hex digits in text."""
        return _LABELS[self]

    def hasher(self) -> Hasher:
        """Start a hash."""
        match self:
            case Algorithm.SHA1:
                return hashlib.sha1(usedforsecurity=False)
            case Algorithm.RMD160:
                return _ripemd160()
            case Algorithm.SHAKE128:  # pragma: no branch - there is no other, as mypy proves
                return _Shake160()


class Suffix(StrEnum):
    """The letter after an object's name tells what it is."""

    NONE = ""
    CATALOG = "C"
    HISTORY = "H"
    META_INFO = "M"
    PARTIAL = "P"
    CERTIFICATE = "X"
    MICRO_CATALOG = "L"


_LABELS: Final = ("", "-rmd160", "-shake128")
_BY_LABEL: Final = {label: Algorithm(number) for number, label in enumerate(_LABELS)}
_TEXT: Final = re.compile(r"([0-9a-f]{40})(|-rmd160|-shake128)")


@dataclass(frozen=True, slots=True)
class ContentHash:
    """The name of an object: algorithm, digest and suffix."""

    algorithm: Algorithm
    digest: bytes
    suffix: Suffix = Suffix.NONE

    def __post_init__(self) -> None:
        if len(self.digest) != DIGEST_BYTES:
            raise FormatError(f"a content hash has 20 bytes, not {len(self.digest)}")

    def __hash__(self) -> int:
        return hash(self.digest)  # random enough, and remembered by the bytes themselves

    @classmethod
    def parse(cls, text: str, suffix: Suffix = Suffix.NONE) -> ContentHash:
        """Read hex digits with their algorithm, as in manifests and ``nested_catalogs``.

        Raises:
            FormatError: unless ``text`` is 40 lower-case hex digits and a known algorithm.
        """
        match = _TEXT.fullmatch(text)
        if match is None:
            raise FormatError(
                f"{text[:80]!r} is no content hash: expected 40 hex digits, then nothing, "
                "'-rmd160' or '-shake128'"
            )
        return cls(_BY_LABEL[match[2]], bytes.fromhex(match[1]), suffix)

    @classmethod
    def of(cls, algorithm: Algorithm, data: bytes, suffix: Suffix = Suffix.NONE) -> ContentHash:
        """Hash ``data`` as a whole."""
        hasher = algorithm.hasher()
        hasher.update(data)
        return cls(algorithm, hasher.digest(), suffix)

    def with_suffix(self, suffix: Suffix) -> ContentHash:
        """The same digest in another role."""
        return ContentHash(self.algorithm, self.digest, suffix)

    @property
    def text(self) -> str:
        """Hex and algorithm, without the suffix: the form signed, and stored in catalogs."""
        return self.digest.hex() + self.algorithm.label

    def __str__(self) -> str:
        return self.text + self.suffix


class _Shake160:
    """SHAKE-128 with its output cut at 160 bits."""

    __slots__ = ("_shake",)

    def __init__(self) -> None:
        self._shake = hashlib.shake_128(usedforsecurity=False)

    def update(self, data: bytes | memoryview, /) -> None:
        self._shake.update(data)

    def digest(self) -> bytes:
        return self._shake.digest(DIGEST_BYTES)


def _ripemd160() -> Hasher:
    """OpenSSL's RIPEMD-160 where it is built in, else the library's."""
    try:
        return hashlib.new("ripemd160", usedforsecurity=False)
    except ValueError:
        from Crypto.Hash import RIPEMD160  # noqa: PLC0415 - slow to import, and rarely needed

        return RIPEMD160.new()
