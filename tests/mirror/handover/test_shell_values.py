"""The reader of KEY=VALUE, beside a real shell."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirror.handover.shell_values import ShellValues, parse_values

PIECES = st.sampled_from(
    ["a", "/b", " ", "\t", "'", '"', "\\", "\n", "#", "=", ";", "$X", "${X}", "é", "-", "~x", "*"]
)


def by_a_shell(text: str) -> str | None:
    """What a shell makes of ``K`` after this; None where it finds a mistake."""
    script = f'X=x; K=\n{text}\nprintf %s "<$K>"'
    done = subprocess.run(["sh", "-f"], input=script, capture_output=True, text=True, check=False)
    return done.stdout[1:-1] if done.returncode == 0 and not done.stderr else None


@settings(max_examples=150)
@given(st.lists(PIECES, max_size=8).map("".join))
def test_what_it_understands_a_shell_understands_too(value: str) -> None:
    """Where both have a value it is the same."""
    text = f"K={value}\nZ=1\n"
    read = parse_values(text, ShellValues({"X": "x"}))
    shell = by_a_shell(text)
    if shell is not None and "K" in read.values and not read.ignored and not read.unusable:
        assert read.values["K"] == shell


@given(st.text(max_size=200))
def test_any_text_has_an_end(text: str) -> None:
    """Nothing raises, and nothing is read twice."""
    parse_values(text)
    parse_values(f"A='{text}'\nB=\"{text}\nC={text}")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("K=v", "v"),
        ("  export K=v # w", "v"),
        ("K=v#w", "v#w"),
        ("K='a b'\"c d\"e\\ f", "a bc de f"),
        ('K="a\\"b\\c"', 'a"b\\c'),
        ("K=a\\\nb", "ab"),
        ("K='a\nb'", "a\nb"),
        ("A=1 K=2; B=3", "2"),
        ("A=1\nK=$A/${A}", "1/1"),
        ("K=1\nK=2", "2"),
        ("K=$(x)\nK=2", "2"),
        ("K=1 command", None),
        ("K=1\nK=$(x)", None),
        ("if true; then\nK=1\nfi", "1"),
        ("K=", ""),
    ],
)
def test_values(text: str, value: str | None) -> None:
    """As a shell would, without one."""
    assert parse_values(text).values.get("K") == value


def test_values_that_grow_are_not_followed() -> None:
    """Each doubles the one before."""
    text = "A=" + "x" * 10_000 + "\n" + "".join("A=$A$A\n" for _ in range(64))
    read = parse_values(text)
    assert (list(read.values), list(read.unusable)) == ([], ["A"])


def test_the_reason_names_what_to_do() -> None:
    """Of every value that cannot be known."""
    read = parse_values("A=`x`\nB=$C\nD=a>b\nE='")
    assert read.unusable == {
        "A": "it would run a command or compute something; write the value itself",
        "B": "it uses $C, which is not known; write the value itself",
        "D": "it holds '>', which means something to a shell; quote it",
        "E": "its quote is never closed; close it",
    }
