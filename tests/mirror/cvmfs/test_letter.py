from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.cvmfs.content_hash import Algorithm
from mirror.cvmfs.letter import Letter, text_lines
from mirror.errors import BadSignature, FormatError
from tests.support.hostile import mutated, survives
from tests.support.keys import letter

TEXT = b"first\nsecond\n"
RAW = letter(TEXT, Algorithm.SHA1, lambda _: b"\x00signature\n--\n\xff")


def read(raw: bytes) -> list[str]:
    """All that is done to a letter before its signature is looked at."""
    parsed = Letter.parse(raw, "it")
    parsed.require_intact("it")
    return text_lines(parsed.text, "it")


def test_three_parts() -> None:
    """A letter is cut at the first dashes; the signature may hold any bytes, dashes included."""
    parsed = Letter.parse(RAW, "it")
    assert parsed.text == TEXT
    assert parsed.printed_hash == RAW.split(b"\n")[3]
    assert parsed.signature == b"\x00signature\n--\n\xff"


@given(st.lists(st.text(st.characters(exclude_characters="\n"))), st.binary())
def test_parts_put_together_are_the_letter(lines: list[str], signature: bytes) -> None:
    """Nothing of a letter is lost or added by cutting it."""
    text = "".join(f"k{line}\n" for line in ["", *lines]).encode("utf-8", "replace")
    raw = letter(text, Algorithm.SHA1, lambda _: signature)
    parsed = Letter.parse(raw, "it")
    assert (parsed.text, parsed.signature) == (text, signature)
    assert parsed.text + b"--\n" + parsed.printed_hash + b"\n" + parsed.signature == raw


@pytest.mark.parametrize("algorithm", Algorithm)
def test_printed_hash_decides_the_algorithm(algorithm: Algorithm) -> None:
    """A letter whose text fits its hash is intact, by whichever algorithm the hash names."""
    Letter.parse(letter(TEXT, algorithm, bytes), "it").require_intact("it")


@pytest.mark.parametrize(
    "raw", [b"", b"text", b"--\nhash\n", b"text\n--", b"a\n-- \nb\n", b"a\n--b\n"]
)
def test_no_dashes_is_no_letter(raw: bytes) -> None:
    """Without a line of two dashes there is nothing signed."""
    with pytest.raises(FormatError, match="no '--' line"):
        Letter.parse(raw, "it")


@pytest.mark.parametrize("tail", [b"", b"a" * 40, b"a" * 65 + b"\n", b"\xff" * 200])
def test_no_hash_line_is_no_letter(tail: bytes) -> None:
    """Behind the dashes a line follows that is no longer than a hash can be."""
    with pytest.raises(FormatError, match="no hash line"):
        Letter.parse(b"text\n--\n" + tail, "it")


def test_longest_hash_line() -> None:
    """A line of 64 characters might be a hash, some day."""
    assert Letter.parse(b"text\n--\n" + b"a" * 64 + b"\n", "it").printed_hash == b"a" * 64


def test_changed_text_is_not_intact() -> None:
    """The hash is over every byte of the text."""
    with pytest.raises(BadSignature, match="its signature is for"):
        Letter.parse(RAW.replace(b"first", b"fIrst"), "it").require_intact("it")


def test_last_newline_belongs_to_the_text() -> None:
    """The hashed range goes through the newline before the dashes."""
    without = letter(TEXT[:-1], Algorithm.SHA1, bytes).replace(b"second--", b"second\n--")
    with pytest.raises(BadSignature, match="its signature is for"):
        Letter.parse(without, "it").require_intact("it")


@pytest.mark.parametrize("printed", [b"", b"no hash", b"\xff" * 40, b"A" * 40, b"a" * 40 + b"\r"])
def test_something_that_is_no_hash_signs_nothing(printed: bytes) -> None:
    """A signature over anything but a hash is none."""
    with pytest.raises(BadSignature, match="no hash"):
        Letter.parse(b"text\n--\n" + printed + b"\nsignature", "it").require_intact("it")


def test_text_is_utf8() -> None:
    """Lines are UTF-8, or the letter cannot be read."""
    assert text_lines("zwölf\n\nx\n".encode(), "it") == ["zwölf", "", "x"]
    with pytest.raises(FormatError, match="not UTF-8"):
        text_lines(b"\xff\n", "it")


@given(st.binary() | mutated(RAW))
def test_any_bytes_are_a_letter_or_refused(raw: bytes) -> None:
    """No bytes make it fail in another way."""
    survives(read, raw)
