from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.cvmfs.certificate import Fingerprint
from mirror.cvmfs.content_hash import Algorithm, ContentHash
from mirror.cvmfs.fqrn import Fqrn
from mirror.cvmfs.whitelist import Whitelist
from mirror.errors import FormatError
from tests.support.fixture import REVISIONS
from tests.support.hostile import mutated, survives
from tests.support.keys import Keys, letter

HEAD = ["20260101000000", "E20260601105959", "Ntest.example.org"]
SHA1 = "AB:" * 19 + "AB"
SHAKE = "01:" * 19 + "01-SHAKE128"


def signed(*lines: str) -> bytes:
    """A whitelist of these lines; nobody looks at its signature here."""
    text = "".join(f"{line}\n" for line in lines)
    return letter(text.encode(), Algorithm.SHA1, bytes)


def test_every_line_is_read() -> None:
    """Dates, name and fingerprints are found in their places."""
    raw = signed(*HEAD, SHA1, SHAKE)
    whitelist = Whitelist.parse(raw)
    assert whitelist.raw == raw
    assert whitelist.fqrn == Fqrn("test.example.org")
    assert whitelist.fingerprints == {Fingerprint.parse(SHA1), Fingerprint.parse(SHAKE)}
    assert not whitelist.uses_pkcs7
    assert not whitelist.demands_ca_chain


def test_expiry_is_cut_to_the_hour() -> None:
    """From the hour it names on a whitelist is refused; to the last instant before it is not."""
    whitelist = Whitelist.parse(signed(*HEAD))
    ten = datetime(2026, 6, 1, 10, tzinfo=UTC)
    assert whitelist.expires_at == ten
    assert whitelist.is_expired(ten)
    assert not whitelist.is_expired(ten - timedelta(microseconds=1))


@given(st.datetimes(timezones=st.just(UTC)).filter(lambda moment: moment.year >= 1000))
def test_parse_inverts_format(expiry: datetime) -> None:
    """What a publisher prints is what is read, to the hour."""
    whitelist = Whitelist.parse(signed(HEAD[0], f"E{expiry:%Y%m%d%H%M%S}", HEAD[2]))
    assert whitelist.expires_at == expiry.replace(minute=0, second=0, microsecond=0)


@pytest.mark.parametrize(
    ("lines", "pkcs7", "chain"),
    [
        (["Vpkcs7"], True, False),
        (["Wcachain"], False, True),
        (["Vpkcs7", "Wcachain"], True, True),
        (["Wcachain", "Vpkcs7"], False, True),
        ([SHA1, "Vpkcs7"], False, False),
    ],
)
def test_switches_stand_before_the_fingerprints(lines: list[str], pkcs7: bool, chain: bool) -> None:
    """PKCS#7 and the CA chain are switched on in this order, straight after the name."""
    whitelist = Whitelist.parse(signed(*HEAD, *lines))
    assert (whitelist.uses_pkcs7, whitelist.demands_ca_chain) == (pkcs7, chain)


@pytest.mark.parametrize(
    "line", [f"{SHA1} a comment", f"{SHA1}# a comment", f"{SHA1}\t#", SHA1.lower()]
)
def test_comments_may_follow_a_fingerprint(line: str) -> None:
    """A fingerprint ends at a blank or a hash sign."""
    assert Whitelist.parse(signed(*HEAD, line)).fingerprints == {Fingerprint.parse(SHA1)}


@pytest.mark.parametrize("line", ["", "# comment", "AB:CD", f"-{SHA1}", f"#{SHA1}", "x" * 100])
def test_other_lines_list_nothing(line: str) -> None:
    """Whatever is no fingerprint lists no certificate."""
    assert Whitelist.parse(signed(*HEAD, line)).fingerprints == frozenset()


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_lines_are_refused(count: int) -> None:
    """Date, expiry and name must all be there."""
    with pytest.raises(FormatError, match=f"has {count} lines"):
        Whitelist.parse(signed(*HEAD[:count]))


@pytest.mark.parametrize(
    ("line", "text", "says"),
    [
        (0, "2026010100000", "date of issue"),
        (0, "202601010000000", "date of issue"),
        (0, "E20260101000000", "date of issue"),
        (0, "\N{ARABIC-INDIC DIGIT TWO}0260101000000", "date of issue"),
        (1, "20260601105959", "no expiry date"),
        (1, "E2026060110595", "expiry date"),
        (1, "E20261301000000", "is no date"),
        (1, "E20260230000000", "is no date"),
        (1, "E00000101000000", "is no date"),
        (1, "E20260101000061", "is no date"),
        (1, "", "no expiry date"),
        (2, "test.example.org", "no repository name"),
        (2, "N", "line 3: .* is no repository name"),
        (2, "N../etc", "line 3: .* is no repository name"),
    ],
)
def test_malformed_lines_are_refused(line: int, text: str, says: str) -> None:
    """Each of the three fixed lines has one form only."""
    lines = HEAD.copy()
    lines[line] = text
    with pytest.raises(FormatError, match=says):
        Whitelist.parse(signed(*lines, SHA1))


@pytest.mark.parametrize("revision", REVISIONS)
def test_real_whitelists(fixture_repository: Path, fixture_keys: Keys, revision: str) -> None:
    """The real publisher's whitelists are read, intact, and list its certificate."""
    whitelist = Whitelist.parse((fixture_repository / revision / ".cvmfswhitelist").read_bytes())
    whitelist.letter.require_intact("it")
    assert whitelist.fqrn == Fqrn("software.example.org")
    assert whitelist.fingerprints == {fixture_keys.fingerprint()}


def test_fingerprints_of_other_algorithms_keep_their_name() -> None:
    """A list may mix algorithms."""
    listed = {Fingerprint(ContentHash.of(algorithm, b"x")) for algorithm in Algorithm}
    assert Whitelist.parse(signed(*HEAD, *map(str, listed))).fingerprints == listed


@given(st.binary() | mutated(signed(*HEAD, SHA1, SHAKE)))
def test_any_bytes_are_a_whitelist_or_refused(raw: bytes) -> None:
    """No bytes make it fail in another way."""
    survives(Whitelist.parse, raw)
