from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.upstream.retry_after import retry_after_s
from tests.support.clock import NOW


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("120", 120),
        (" 7 ", 7),
        ("Fri, 02 Jan 2026 00:01:30 GMT", 90),
        ("Fri, 02 Jan 2026 00:01:30 -0000", 90),
        ("Thu, 01 Jan 2026 23:59:00 GMT", 0),
    ],
)
def test_seconds_or_a_date(value: str, seconds: float) -> None:
    """Both forms count from now, and what is over is over."""
    assert retry_after_s(value, NOW) == seconds


@pytest.mark.parametrize(
    "value",
    [None, "", "soon", "-5", "1.5", "1e9", "9" * 10, "²", "x" * 1000, "Fri, 99 Jan 2026 0:0 GMT"],
)
def test_what_means_nothing(value: str | None) -> None:
    """A server that talks nonsense is treated as one that says nothing."""
    assert retry_after_s(value, NOW) is None


@given(st.text() | st.from_regex(r"[A-Z][a-z]{2}, \d+ [A-Z][a-z]{2} \d+ \d+:\d+:\d+ [-+A-Z0-9]*"))
def test_anything(value: str) -> None:
    """Whatever is sent, no exception; what comes back can be slept."""
    seconds = retry_after_s(value, NOW)
    assert seconds is None or (seconds >= 0 and math.isfinite(seconds))
