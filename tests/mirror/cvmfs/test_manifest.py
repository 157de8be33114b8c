from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.cvmfs.content_hash import Algorithm, ContentHash, Suffix
from mirror.cvmfs.fqrn import Fqrn
from mirror.cvmfs.manifest import ROOT_PATH_MD5, Manifest
from mirror.errors import FormatError
from tests.support.fixture import REVISIONS
from tests.support.hostile import mutated, survives
from tests.support.keys import letter

REQUIRED = {"C": "a" * 40, "R": ROOT_PATH_MD5, "D": "240", "S": "1"}
ALL = REQUIRED | {
    "B": "4096",
    "G": "yes",
    "A": "yes",
    "N": "test.example.org",
    "X": "b" * 40 + "-shake128",
    "H": "c" * 40 + "-rmd160",
    "T": "1700000000",
    "M": "d" * 40,
    "Y": "e" * 40,
    "V": "2.2.0",
    "Z": "whatever",
}
numbers = st.integers(0, 2**64 - 1)
hex40 = st.binary(min_size=20, max_size=20).map(bytes.hex)


def signed(fields: dict[str, str]) -> bytes:
    """A manifest of these fields; nobody looks at its signature here."""
    text = "".join(f"{key}{value}\n" for key, value in fields.items())
    return letter(text.encode(), Algorithm.SHA1, bytes)


def test_every_field_is_read() -> None:
    """Each letter has its place, hashes get the suffix of their role, and the rest is tolerated."""
    manifest = Manifest.parse(signed(ALL))
    assert manifest.root_catalog == ContentHash(Algorithm.SHA1, b"\xaa" * 20, Suffix.CATALOG)
    assert manifest.certificate == ContentHash(Algorithm.SHAKE128, b"\xbb" * 20, Suffix.CERTIFICATE)
    assert manifest.history == ContentHash(Algorithm.RMD160, b"\xcc" * 20, Suffix.HISTORY)
    assert manifest.meta_info == ContentHash(Algorithm.SHA1, b"\xdd" * 20, Suffix.META_INFO)
    assert (manifest.root_path_md5, manifest.root_catalog_bytes) == (ROOT_PATH_MD5, 4096)
    assert (manifest.ttl_s, manifest.revision, manifest.published_at) == (240, 1, 1_700_000_000)
    assert manifest.fqrn == Fqrn("test.example.org")
    assert manifest.is_garbage_collectable
    assert manifest.has_alternative_paths


def test_absent_fields_have_a_meaning() -> None:
    """Only C, R, D and S must be there."""
    manifest = Manifest.parse(signed(REQUIRED))
    assert manifest.fqrn is None
    assert manifest.certificate is None
    assert manifest.history is None
    assert manifest.meta_info is None
    assert (manifest.root_catalog_bytes, manifest.published_at) == (None, 0)
    assert not manifest.is_garbage_collectable
    assert not manifest.has_alternative_paths
    assert manifest.named_objects == (manifest.root_catalog,)


def test_named_objects_are_those_named() -> None:
    """The manifest names root catalog, history, certificate and meta info."""
    suffixes = [name.suffix for name in Manifest.parse(signed(ALL)).named_objects]
    assert "".join(suffixes) == "CHXM"


def test_raw_bytes_are_kept() -> None:
    """What is republished is what came, unknown letters and all."""
    raw = signed(ALL)
    assert Manifest.parse(raw).raw == raw


@given(numbers, numbers, hex40, st.integers(0, 253_402_300_799))
def test_parse_inverts_format(revision: int, ttl_s: int, digits: str, published_at: int) -> None:
    """What a publisher prints is what is read."""
    changes = {"S": str(revision), "D": str(ttl_s), "C": digits, "T": str(published_at)}
    manifest = Manifest.parse(signed(ALL | changes))
    assert (manifest.revision, manifest.ttl_s) == (revision, ttl_s)
    assert (manifest.root_catalog.text, manifest.published_at) == (digits, published_at)
    assert manifest.published_text


def test_last_of_a_repeated_field_counts() -> None:
    """A letter that occurs twice counts as the reference counts it."""
    text = "".join(f"{key}{value}\n" for key, value in REQUIRED.items()) + "\nS7\nS8\n"
    assert Manifest.parse(letter(text.encode(), Algorithm.SHA1, bytes)).revision == 8


@pytest.mark.parametrize("key", REQUIRED)
def test_missing_required_field_is_refused(key: str) -> None:
    """Each of the four is missed by name."""
    with pytest.raises(FormatError, match=f"lacks the required field {key}"):
        Manifest.parse(signed({k: v for k, v in REQUIRED.items() if k != key}))


@pytest.mark.parametrize("key", ["B", "D", "S", "T"])
@pytest.mark.parametrize("value", ["", "-1", "1.0", " 1", "0x1", str(2**64), "9" * 21, "²", "1e3"])
def test_numbers_are_64_bits(key: str, value: str) -> None:
    """A number is decimal digits and fits 64 bits."""
    with pytest.raises(FormatError, match=f"field {key}: .* no number"):
        Manifest.parse(signed(ALL | {key: value}))


def test_largest_numbers_are_numbers() -> None:
    """The last number of 64 bits, and the last second of the year 9999, are still read."""
    manifest = Manifest.parse(signed(ALL | {"S": str(2**64 - 1), "T": "253402300799"}))
    assert manifest.revision == 2**64 - 1
    assert manifest.published_text == "9999-12-31 23:59:59 UTC"


def test_times_end_with_the_calendar() -> None:
    """A time beyond the year 9999 could not be printed, and is refused."""
    with pytest.raises(FormatError, match="after the year 9999"):
        Manifest.parse(signed(ALL | {"T": "253402300800"}))


@pytest.mark.parametrize("key", ["C", "X", "H", "M"])
@pytest.mark.parametrize("value", ["", "a" * 39, "a" * 40 + "C", "A" * 40, "../" + "a" * 37])
def test_hashes_are_hashes(key: str, value: str) -> None:
    """A field that names an object is refused unless it is a hash."""
    with pytest.raises(FormatError, match=f"field {key}: "):
        Manifest.parse(signed(ALL | {key: value}))


def test_names_are_names() -> None:
    """A repository's name cannot lead out of a directory."""
    with pytest.raises(FormatError, match=r"field N: .* is no repository name"):
        Manifest.parse(signed(ALL | {"N": "../../etc"}))


@pytest.mark.parametrize(
    ("published_at", "text"),
    [("0", "at an unknown time"), ("1700000000", "2023-11-14 22:13:20 UTC")],
)
def test_publication_time_for_people(published_at: str, text: str) -> None:
    """The time is printed in UTC, and 0 is unknown."""
    assert Manifest.parse(signed(ALL | {"T": published_at})).published_text == text


@pytest.mark.parametrize("revision", REVISIONS)
def test_real_manifests(fixture_repository: Path, revision: str) -> None:
    """The real publisher's manifests are read, intact, and of the revision they should be."""
    manifest = Manifest.parse((fixture_repository / revision / ".cvmfspublished").read_bytes())
    manifest.letter.require_intact("it")
    assert manifest.revision == min(int(revision[3:]), 6)
    assert manifest.fqrn == Fqrn("software.example.org")


@given(st.binary() | mutated(signed(ALL)))
def test_any_bytes_are_a_manifest_or_refused(raw: bytes) -> None:
    """No bytes make it fail in another way."""
    survives(Manifest.parse, raw)
