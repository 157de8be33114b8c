from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.cvmfs.content_hash import Algorithm, ContentHash, Suffix
from mirror.errors import FormatError
from tests.support.hostile import survives

hashes = st.builds(
    ContentHash,
    st.sampled_from(Algorithm),
    st.binary(min_size=20, max_size=20),
    st.sampled_from(Suffix),
)

VECTORS = [
    (Algorithm.SHA1, b"", "da39a3ee5e6b4b0d3255bfef95601890afd80709"),
    (Algorithm.SHA1, b"abc", "a9993e364706816aba3e25717850c26c9cd0d89d"),
    (Algorithm.RMD160, b"", "9c1185a5c5e9fc54612808977ee8f548b2258d31-rmd160"),
    (Algorithm.RMD160, b"abc", "8eb208f7e05d987a9b044a8e98c6b087f15a0bfc-rmd160"),
    (Algorithm.SHAKE128, b"", "7f9c2ba4e88f827d616045507605853ed73b8093-shake128"),
    (Algorithm.SHAKE128, b"abc", "5881092dd818bf5cf8a3ddb793fbcba74097d5c5-shake128"),
]


@pytest.mark.parametrize(("algorithm", "data", "text"), VECTORS)
def test_published_vectors(algorithm: Algorithm, data: bytes, text: str) -> None:
    """The three algorithms give what their standards print."""
    assert ContentHash.of(algorithm, data).text == text


@pytest.mark.parametrize(("algorithm", "data", "text"), VECTORS)
def test_vectors_without_openssl_ripemd(
    algorithm: Algorithm, data: bytes, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where OpenSSL is built without RIPEMD-160, the library gives the same."""

    def refuse(*_: object, **__: object) -> None:
        raise ValueError("unsupported hash type ripemd160")

    monkeypatch.setattr(hashlib, "new", refuse)
    assert ContentHash.of(algorithm, data).text == text


def test_numbers_are_those_in_flags() -> None:
    """The numbers of the algorithms are the ones in catalogs."""
    assert [(kind.name, kind.value) for kind in Algorithm] == [
        ("SHA1", 0),
        ("RMD160", 1),
        ("SHAKE128", 2),
    ]


@given(st.sampled_from(Algorithm), st.lists(st.binary()))
def test_hash_in_pieces_is_hash_of_the_whole(algorithm: Algorithm, pieces: list[bytes]) -> None:
    """How bytes arrive does not change what they hash to."""
    hasher = algorithm.hasher()
    for piece in pieces:
        hasher.update(memoryview(piece))
    assert hasher.digest() == ContentHash.of(algorithm, b"".join(pieces)).digest


@given(hashes)
def test_parse_inverts_text(name: ContentHash) -> None:
    """What is printed is read back, and the suffix is the reader's."""
    assert ContentHash.parse(name.text, name.suffix) == name


@given(hashes)
def test_printed_name_ends_in_its_suffix(name: ContentHash) -> None:
    """In full a hash is digits, algorithm and suffix."""
    assert str(name) == f"{name.digest.hex()}{name.algorithm.label}{name.suffix.value}"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a" * 39,
        "a" * 41,
        "A" * 40,
        "g" * 40,
        "a" * 40 + "-md5",
        "a" * 40 + "-sha1",
        "a" * 40 + "-RMD160",
        "a" * 40 + "C",
        "a" * 40 + "\n",
        " " + "a" * 40,
        "\N{ARABIC-INDIC DIGIT ONE}" * 40,
    ],
)
def test_other_texts_are_refused(text: str) -> None:
    """Only 40 lower-case digits and a known algorithm are a hash."""
    with pytest.raises(FormatError, match="is no content hash"):
        ContentHash.parse(text)


@given(st.text())
def test_any_text_is_a_hash_or_refused(text: str) -> None:
    """No text makes it fail in another way."""
    survives(ContentHash.parse, text)


@pytest.mark.parametrize("length", [0, 19, 21])
def test_digests_have_20_bytes(length: int) -> None:
    """There is no content hash of another length."""
    with pytest.raises(FormatError, match=f"not {length}"):
        ContentHash(Algorithm.SHA1, bytes(length))


def test_suffix_is_part_of_the_name() -> None:
    """The same digest in another role is another object."""
    name = ContentHash.of(Algorithm.SHA1, b"")
    assert name.with_suffix(Suffix.CATALOG) != name
    assert name.with_suffix(Suffix.CATALOG).with_suffix(Suffix.NONE) == name
