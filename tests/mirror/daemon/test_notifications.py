"""Messages are those of the reference, and whatever comes is read, or refused with a reason."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.cvmfs.fqrn import Fqrn
from mirror.cvmfs.paths import MANIFEST
from mirror.daemon.notifications import (
    MAX_MESSAGE_BYTES,
    Wish,
    make_notification,
    make_wish,
    parse_notification,
    parse_wish,
)
from mirror.errors import FormatError
from tests.support.clock import NOW
from tests.support.keys import Keys
from tests.support.publisher import Repository


@pytest.fixture(name="manifest", scope="module")
def fixture_manifest(keys: Keys) -> bytes:
    """A signed one of test.example.org."""
    repository = Repository(keys)
    repository.publish({"": {"file": b"content"}})
    return repository.files[MANIFEST]


FQRN = Fqrn("test.example.org")


def test_as_the_reference_writes_it(manifest: bytes) -> None:
    """Every field that its client insists on, in its type, in one line."""
    text = make_notification(FQRN, manifest, NOW)
    assert "\n" not in text
    assert json.loads(text) == {
        "version": 1,
        "timestamp": "2 Jan 2026 00:00:00",
        "type": "activity",
        "repository": "test.example.org",
        "manifest": base64.b64encode(manifest).decode(),
    }


def test_read_again(manifest: bytes) -> None:
    """What we make we understand."""
    heard = parse_notification(make_notification(FQRN, manifest, NOW).encode())
    assert (heard.fqrn, heard.manifest.raw, heard.manifest.revision) == (FQRN, manifest, 1)


def changed(manifest: bytes, /, **fields: object) -> bytes:
    """A message with other fields; None leaves one out."""
    message = json.loads(make_notification(FQRN, manifest, NOW)) | fields
    return json.dumps(
        {name: value for name, value in message.items() if value is not None}
    ).encode()


@pytest.mark.parametrize(
    "fields", [{"timestamp": None}, {"timestamp": 17}, {"version": None}, {"more": "fields"}]
)
def test_what_does_not_matter(manifest: bytes, fields: dict[str, object]) -> None:
    """A gateway passes on whatever it is sent, so only what is needed is asked for."""
    assert parse_notification(changed(manifest, **fields)).fqrn == FQRN


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"type": "status"}, "of type 'status'"),
        ({"type": None}, "of type None"),
        ({"repository": None}, "'repository'"),
        ({"repository": 5}, "'repository'"),
        ({"repository": "../etc"}, "no repository name"),
        ({"repository": "other.example.org"}, "its manifest is of test.example.org"),
        ({"manifest": None}, "'manifest'"),
        ({"manifest": ["x"]}, "'manifest'"),
        ({"manifest": "n\u00f6"}, "no base64"),
        ({"manifest": "AAA"}, "no base64"),
        ({"manifest": "AAAA"}, ".cvmfspublished"),
    ],
)
def test_what_matters(manifest: bytes, fields: dict[str, object], reason: str) -> None:
    """Is refused with the field's name."""
    with pytest.raises(FormatError, match=reason):
        parse_notification(changed(manifest, **fields))


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b"7", b"{", b"[" * 100_000, b"\xff", b"1" * 5000, b'"data"']
)
def test_no_message(raw: bytes) -> None:
    """Not even JSON, or no object."""
    with pytest.raises(FormatError):
        parse_notification(raw)


def test_too_long() -> None:
    """Is not even looked at."""
    with pytest.raises(FormatError, match="at most"):
        parse_notification(b" " * (MAX_MESSAGE_BYTES + 1))


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_any_bytes(raw: bytes) -> None:
    """Give a message or an error that says why not."""
    for parse in (parse_notification, parse_wish):
        with pytest.raises(FormatError):
            parse(raw)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["version", "type", "repository", "manifest"]), _JSON))
def test_any_fields(fields: dict[str, object]) -> None:
    """Likewise, with types that nobody expects."""
    with pytest.raises(FormatError):
        parse_notification(json.dumps({"type": "activity"} | fields).encode())


@given(st.booleans())
def test_subscription(wants_heartbeats: bool) -> None:
    """What our subscriber asks for, our stream understands."""
    wish = Wish(FQRN, wants_heartbeats)
    assert parse_wish(make_wish(wish)) == wish


def test_subscription_of_the_reference() -> None:
    """It asks for no heartbeats, and would stumble over them."""
    raw = b'{"version":1,"repository":"test.example.org"}'
    assert parse_wish(raw) == Wish(FQRN, wants_heartbeats=False)
