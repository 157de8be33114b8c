from __future__ import annotations

import json
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.cvmfs.manifest import Manifest
from mirror.cvmfs.meta_info import MetaInfo
from mirror.cvmfs.paths import MANIFEST, object_path
from mirror.errors import FormatError
from tests.support.hostile import mutated, survives

LIMIT = 100_000
CONTENT = {
    "administrator": "A. Person",
    "email": "a@example.org",
    "organisation": "Example",
    "description": "Software",
    "url": "https://example.org",
    "recommended-stratum0": "http://s0.example.org",
    "recommended-stratum1s": ["http://s1.example.org", "http://s2.example.org"],
    "custom": {"anything": [1, 2]},
}
JSON = json.dumps(CONTENT).encode()
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(list(CONTENT)), inner),
)


def parse(content: bytes) -> MetaInfo:
    """Read it from its stored form."""
    return MetaInfo.parse(zlib.compress(content), LIMIT)


def test_every_field_is_read() -> None:
    """Each key has its place and what is not known is passed over."""
    assert parse(JSON) == MetaInfo(
        administrator="A. Person",
        email="a@example.org",
        organisation="Example",
        description="Software",
        url="https://example.org",
        recommended_stratum0="http://s0.example.org",
        recommended_stratum1s=("http://s1.example.org", "http://s2.example.org"),
    )


def test_absent_fields_are_empty() -> None:
    """Nothing need be said."""
    assert parse(b"{}") == MetaInfo("", "", "", "", "", "", ())


@pytest.mark.parametrize("value", [None, 1, {}, "http://s1.example.org"])
def test_fields_of_another_type_are_empty(value: object) -> None:
    """A value of the wrong type says nothing."""
    content = {"recommended-stratum1s": value, "email": [value]}
    assert parse(json.dumps(content).encode()) == parse(b"{}")


def test_urls_of_another_type_are_left_out() -> None:
    """Of a list what is text is kept."""
    assert parse(b'{"recommended-stratum1s": [1, "a", null]}').recommended_stratum1s == ("a",)


@pytest.mark.parametrize("content", [b"", b"{", b"no", b"\xff\xfe\xfd", b"[" * 50_000, b"9" * 5000])
def test_other_texts_are_refused(content: bytes) -> None:
    """What is no JSON, or nests without end, is refused."""
    with pytest.raises(FormatError, match="is not JSON"):
        parse(content)


@pytest.mark.parametrize("content", [b"[]", b"null", b'"text"', b"1"])
def test_other_values_are_refused(content: bytes) -> None:
    """Meta information is a JSON object."""
    with pytest.raises(FormatError, match="not a JSON object"):
        parse(content)


def test_size_is_limited() -> None:
    """No more is unpacked than the limit."""
    with pytest.raises(FormatError, match="more than 10 bytes"):
        MetaInfo.parse(zlib.compress(JSON), 10)


def test_real_meta_info(fixture_repository: Path) -> None:
    """The real publisher's meta information is read."""
    revision = fixture_repository / "rev8"
    meta_info = Manifest.parse((revision / MANIFEST).read_bytes()).meta_info
    assert meta_info is not None
    stored = (revision / object_path(meta_info)).read_bytes()
    assert MetaInfo.parse(stored, LIMIT).administrator


@given(json_values.map(lambda value: json.dumps(value).encode()) | st.binary() | mutated(JSON))
def test_any_content_is_meta_info_or_refused(content: bytes) -> None:
    """No bytes make it fail in another way."""
    survives(parse, content)
