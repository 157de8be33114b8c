from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.cvmfs.blacklist import Blacklist
from mirror.cvmfs.certificate import Fingerprint
from mirror.cvmfs.fqrn import Fqrn
from mirror.errors import FormatError
from tests.support.hostile import survives

SHA1 = "AB:" * 19 + "AB"
NAME = Fqrn("test.example.org")


def test_both_kinds_of_lines() -> None:
    """Fingerprints and revisions stand beside comments and empty lines."""
    blacklist = Blacklist.parse(f"# why\n\n{SHA1} # since\n<{NAME} 120\n  < b.org  7 # too\n")
    assert blacklist.fingerprints == {Fingerprint.parse(SHA1)}
    assert blacklist.minimum_revisions == {NAME: 120, Fqrn("b.org"): 7}


@pytest.mark.parametrize("revisions", [(3, 120), (120, 3)])
def test_highest_revision_counts(revisions: tuple[int, int]) -> None:
    """Of two lines for a repository the stricter one holds, in either order."""
    text = "\n".join(f"<{NAME} {revision}" for revision in revisions)
    assert Blacklist.parse(text).minimum_revisions == {NAME: 120}


def test_fingerprints_without_colons() -> None:
    """A fingerprint may be written in either case, without colons, and with a remark behind it."""
    text = f"{SHA1.replace(':', '').lower()} stolen"
    assert Blacklist.parse(text).fingerprints == {Fingerprint.parse(SHA1)}


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment"])
def test_empty_list_refuses_nothing(text: str) -> None:
    """A blacklist may be empty."""
    assert Blacklist.parse(text) == Blacklist()


@given(st.sets(st.binary(min_size=20, max_size=20)), st.integers(0, 10**20 - 1))
def test_parse_inverts_format(digests: set[bytes], revision: int) -> None:
    """What is written down is what is refused."""
    lines = [digest.hex(":").upper() for digest in digests]
    blacklist = Blacklist.parse("\n".join([*lines, f"<{NAME} {revision}"]))
    assert {fingerprint.hash.digest for fingerprint in blacklist.fingerprints} == digests
    assert blacklist.minimum_revisions == {NAME: revision}


@pytest.mark.parametrize(
    "line",
    ["AB:CD", "nonsense", "<", f"<{NAME}", f"<{NAME} x", f"<{NAME} 1 2", "<../x 1", f"<{NAME} -1"],
)
def test_lines_half_understood_are_refused(line: str) -> None:
    """A list with a line that is neither protects from nothing, and says which line."""
    with pytest.raises(FormatError, match="blacklist line 2: "):
        Blacklist.parse(f"# first\n{line}\n")


@given(st.text() | st.from_regex(r"(<[a-z./ ]* [0-9]*\n|[A-F0-9:]{58,60}\n|#.*\n)*"))
def test_any_text_is_a_blacklist_or_refused(text: str) -> None:
    """No text makes it fail in another way."""
    survives(Blacklist.parse, text)
