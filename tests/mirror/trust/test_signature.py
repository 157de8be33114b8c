from __future__ import annotations

import hashlib

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from mirror.errors import BadSignature
from mirror.trust.signature import Verify, is_signed_raw, require_manifest_signature
from tests.support.keys import Keys, sign_raw

TEXT = b"0123456789abcdef0123456789abcdef01234567"
SHA1_INFO = bytes.fromhex("3021300906052b0e03021a05000414")
SIZE = 256


def forbidden(*_: object) -> bool:
    """A library whose crypto policy forbids SHA-1."""
    raise UnsupportedAlgorithm("sha1 is not supported")


both_ways = pytest.mark.parametrize("library", [None, forbidden], ids=["library", "integers"])


def block(message: bytes, *, head: bytes = b"\x00\x01", fill: bytes = b"\xff") -> bytes:
    """A message under padding as long as the key."""
    return head + fill * (SIZE - len(head) - 1 - len(message)) + b"\x00" + message


def info(text: bytes) -> bytes:
    """What PKCS#1 v1.5 pads: the name of the hash function and the hash."""
    return SHA1_INFO + hashlib.sha1(text).digest()


# --- manifests ----------------------------------------------------------------------------------


@both_ways
def test_good_signature_is_accepted(keys: Keys, library: Verify | None) -> None:
    """Both ways of looking at it accept the publisher's signature."""
    key = keys.publisher.public_key()
    require_manifest_signature(key, TEXT, keys.sign_manifest(TEXT), library=library)


@both_ways
@given(index=st.integers(0, SIZE - 1), bit=st.integers(0, 7))
def test_flipped_bit_is_refused(keys: Keys, library: Verify | None, index: int, bit: int) -> None:
    """No bit of a signature may change."""
    signature = bytearray(keys.sign_manifest(TEXT))
    signature[index] ^= 1 << bit
    with pytest.raises(BadSignature, match="not signed by the certificate"):
        require_manifest_signature(
            keys.publisher.public_key(), TEXT, bytes(signature), library=library
        )


@both_ways
@pytest.mark.parametrize("text", [TEXT[:-1], TEXT + b"\n", TEXT.upper(), b""])
def test_other_text_is_refused(keys: Keys, library: Verify | None, text: bytes) -> None:
    """A signature is of one text."""
    signature = keys.sign_manifest(TEXT)
    with pytest.raises(BadSignature):
        require_manifest_signature(keys.publisher.public_key(), text, signature, library=library)


@both_ways
def test_other_key_is_refused(keys: Keys, library: Verify | None) -> None:
    """A signature is by one key: the master key's word is not the publisher's."""
    signature = sign_raw(keys.master, info(TEXT))
    with pytest.raises(BadSignature):
        require_manifest_signature(keys.publisher.public_key(), TEXT, signature, library=library)


@both_ways
@pytest.mark.parametrize("change", ["", "00", "cut", "twice"])
def test_other_lengths_are_refused(keys: Keys, library: Verify | None, change: str) -> None:
    """A signature is exactly as long as its key."""
    good = keys.sign_manifest(TEXT)
    signature = {"": b"", "00": good + b"\0", "cut": good[:-1], "twice": good * 2}[change]
    with pytest.raises(BadSignature):
        require_manifest_signature(keys.publisher.public_key(), TEXT, signature, library=library)


@both_ways
@pytest.mark.parametrize(
    "padded",
    [
        block(info(TEXT), head=b"\x00\x02"),
        block(info(TEXT), head=b"\x00\x00"),
        block(info(TEXT), fill=b"\xfe"),
        block(TEXT),
        block(hashlib.sha1(TEXT).digest()),
        block(
            bytes.fromhex("3031300d060960864801650304020105000420") + hashlib.sha256(TEXT).digest()
        ),
        b"\x00\x01" + b"\xff" * 8 + b"\x00" + info(TEXT) + bytes(SIZE - 11 - len(info(TEXT))),
    ],
    ids=["type 2", "type 0", "fill", "text", "bare hash", "sha256", "garbage behind"],
)
def test_other_paddings_are_refused(keys: Keys, library: Verify | None, padded: bytes) -> None:
    """The whole block is compared, so nothing hides in front of the hash or behind it."""
    signature = sign_raw(keys.publisher, b"", padded)
    with pytest.raises(BadSignature):
        require_manifest_signature(keys.publisher.public_key(), TEXT, signature, library=library)


@pytest.mark.parametrize("good", [True, False])
def test_library_has_the_first_word(keys: Keys, good: bool) -> None:
    """Integers are counted only where the library is forbidden to say anything."""
    key = keys.publisher.public_key()
    signature = keys.sign_manifest(TEXT)
    if good:
        require_manifest_signature(key, TEXT, b"bad", library=lambda *_: True)
    else:
        with pytest.raises(BadSignature):
            require_manifest_signature(key, TEXT, signature, library=lambda *_: False)


def test_block_that_is_right_is_accepted(keys: Keys) -> None:
    """The blocks refused above are refused for what is wrong in them: this one is right."""
    signature = sign_raw(keys.publisher, b"", block(info(TEXT)))
    assert signature == keys.sign_manifest(TEXT)


@both_ways
def test_signature_not_below_the_modulus_is_refused(
    fixture_keys: Keys, library: Verify | None
) -> None:
    """A number has one form below the modulus; the same one beyond it is not a signature."""
    key = fixture_keys.publisher.public_key()
    texts = (f"text {number}".encode() for number in range(100))
    signed = {text: int.from_bytes(fixture_keys.sign_manifest(text), "big") for text in texts}
    text, value = min(signed.items(), key=lambda item: item[1])  # which leaves room above
    beyond = (value + key.public_numbers().n).to_bytes(SIZE, "big")
    with pytest.raises(BadSignature):
        require_manifest_signature(key, text, beyond, library=library)


@both_ways
@pytest.mark.parametrize("signature", [b"", b"\x01", b"\x01\x01"])
def test_key_too_small_for_the_padding_is_refused(library: Verify | None, signature: bytes) -> None:
    """A key that cannot hold the padded hash has signed nothing, whatever lies there."""
    tiny = rsa.RSAPublicNumbers(17, 3233).public_key()
    with pytest.raises(BadSignature):
        require_manifest_signature(tiny, TEXT, signature, library=library)


# --- whitelists ---------------------------------------------------------------------------------


def test_good_raw_signature_is_accepted(keys: Keys) -> None:
    """The master key's signature is the text itself, padded."""
    assert is_signed_raw(keys.master.public_key(), TEXT, keys.sign_whitelist(TEXT))


@given(index=st.integers(0, SIZE - 1), bit=st.integers(0, 7))
def test_flipped_bit_of_raw_is_refused(keys: Keys, index: int, bit: int) -> None:
    """No bit of a signature may change."""
    signature = bytearray(keys.sign_whitelist(TEXT))
    signature[index] ^= 1 << bit
    assert not is_signed_raw(keys.master.public_key(), TEXT, bytes(signature))


def test_other_text_or_key_is_refused_raw(keys: Keys) -> None:
    """A signature is of one text by one key."""
    signature = keys.sign_whitelist(TEXT)
    assert not is_signed_raw(keys.master.public_key(), TEXT + b"\n", signature)
    assert not is_signed_raw(keys.publisher.public_key(), TEXT, signature)


@pytest.mark.parametrize(
    "padded",
    [
        block(TEXT, head=b"\x00\x02"),
        block(TEXT, head=b"\x00\x00"),
        block(TEXT, head=b"\x01\x01"),
        block(TEXT, fill=b"\xfe"),
        block(b"\x00" + TEXT),
        block(info(TEXT)),
        b"\x00\x01" + b"\xff" * 7 + b"\x00" + TEXT + bytes(SIZE - 10 - len(TEXT)),
        b"\x00\x01" + b"\xff" * 8 + b"\x00" + TEXT + bytes(SIZE - 11 - len(TEXT)),
    ],
    ids=["type 2", "type 0", "no zero", "fill", "longer text", "info", "few FF", "garbage behind"],
)
def test_other_paddings_are_refused_raw(keys: Keys, padded: bytes) -> None:
    """The whole block is compared: as much FF as there is room for, and nothing behind the text."""
    assert not is_signed_raw(keys.master.public_key(), TEXT, sign_raw(keys.master, b"", padded))


@pytest.mark.parametrize("change", ["", "00", "cut", "front"])
def test_other_lengths_are_refused_raw(keys: Keys, change: str) -> None:
    """A signature is exactly as long as its key, be the rest only zeros."""
    good = keys.sign_whitelist(TEXT)
    signature = {"": b"", "00": good + b"\0", "cut": good[:-1], "front": b"\0" + good}[change]
    assert not is_signed_raw(keys.master.public_key(), TEXT, signature)


def test_raw_signature_not_below_the_modulus_is_refused(fixture_keys: Keys) -> None:
    """A number has one form below the modulus; the same one beyond it is not a signature."""
    key, text = fixture_keys.master.public_key(), b"text 3"  # whose signature leaves room above
    value = int.from_bytes(fixture_keys.sign_whitelist(text), "big")
    beyond = (value + key.public_numbers().n).to_bytes(SIZE, "big")
    assert is_signed_raw(key, text, value.to_bytes(SIZE, "big"))
    assert not is_signed_raw(key, text, beyond)


@pytest.mark.parametrize(("length", "fits"), [(SIZE - 11, True), (SIZE - 10, False), (SIZE, False)])
def test_text_needs_room_for_padding(keys: Keys, length: int, fits: bool) -> None:
    """At least eight bytes of FF stand before a text, or the key is too small for it."""
    text = b"x" * length
    padded = block(text) if fits else (b"\x00\x01" + b"\xff" * 7 + b"\x00" + text)[:SIZE]
    assert is_signed_raw(keys.master.public_key(), text, sign_raw(keys.master, b"", padded)) is fits


@pytest.mark.parametrize("signature", [b"", b"\x01", b"\x01\x01"])
def test_key_too_small_for_the_text_is_refused(signature: bytes) -> None:
    """A key that cannot hold the text has signed nothing, whatever lies there."""
    tiny = rsa.RSAPublicNumbers(17, 3233).public_key()
    assert not is_signed_raw(tiny, TEXT, signature)
