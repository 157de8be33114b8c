"""The two kinds of RSA signature in CernVM-FS (contract B.2).

Both sign the printed hash of a letter, the ASCII text and not the digest:

- a *manifest* by the certificate's key, PKCS#1 v1.5 with SHA-1 over that text, whatever hash
  algorithm the repository uses;
- a *whitelist* by a master key, the text itself under PKCS#1 type 1 padding, with no DigestInfo.

SHA-1 signatures are forbidden by the crypto policy of some distributions (RHEL 9, FIPS). The
contract leaves no choice of algorithm and a public operation needs no secret, so there we do the
arithmetic ourselves: one modular power and a comparison of the whole padded block.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1

from mirror.errors import BadSignature

Verify = Callable[[rsa.RSAPublicKey, bytes, bytes], bool]
"""Key, signed text, signature → whether it fits. Raises UnsupportedAlgorithm where forbidden."""

_SHA1_DIGEST_INFO: Final = bytes.fromhex("3021300906052b0e03021a05000414")
"""DER of ``DigestInfo(SHA-1, …)`` up to the 20 bytes of the digest (RFC 8017, 9.2)."""

_MIN_PADDING_BYTES: Final = 8


def require_manifest_signature(
    key: rsa.RSAPublicKey, text: bytes, signature: bytes, *, library: Verify | None = None
) -> None:
    """Check a manifest's signature.

    Args:
        key: the certificate's.
        text: the printed hash.
        signature: what follows it in the letter.
        library: how it is done where the crypto policy allows it.

    Raises:
        BadSignature: it is not this key's signature of this text.
    """
    try:
        fits = (library or _by_library)(key, text, signature)
    except UnsupportedAlgorithm:
        digest = hashlib.sha1(text, usedforsecurity=False).digest()
        fits = is_signed_raw(key, _SHA1_DIGEST_INFO + digest, signature)
    if not fits:
        raise BadSignature(".cvmfspublished is not signed by the certificate that it names")


def is_signed_raw(key: rsa.RSAPublicKey, text: bytes, signature: bytes) -> bool:
    """Whether a whitelist's signature is this master key's; no hash function is involved.

    A key too small for the text never fits.
    """
    expected = _padded(key, text)
    return expected is not None and expected == _public_operation(key, signature)


def _by_library(key: rsa.RSAPublicKey, text: bytes, signature: bytes) -> bool:
    try:
        key.verify(signature, text, padding.PKCS1v15(), SHA1())  # noqa: S303 - the contract's choice
    except InvalidSignature:
        return False
    return True


def _public_operation(key: rsa.RSAPublicKey, signature: bytes) -> bytes | None:
    """The block that was signed; None for what cannot be a signature by a key of this size."""
    numbers = key.public_numbers()
    size_bytes = (key.key_size + 7) // 8
    value = int.from_bytes(signature, "big")
    if len(signature) != size_bytes or value >= numbers.n:
        return None
    return pow(value, numbers.e, numbers.n).to_bytes(size_bytes, "big")


def _padded(key: rsa.RSAPublicKey, message: bytes) -> bytes | None:
    """The one block that is right: ``00 01 FF … FF 00 message``; None where it does not fit."""
    padding_bytes = (key.key_size + 7) // 8 - 3 - len(message)
    if padding_bytes < _MIN_PADDING_BYTES:
        return None
    return b"\x00\x01" + b"\xff" * padding_bytes + b"\x00" + message
