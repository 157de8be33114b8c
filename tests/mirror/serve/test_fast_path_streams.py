"""The fast path answers as aiohttp does, byte for byte: whatever a client may send."""

from __future__ import annotations

import os
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings

from tests.mirror.serve.conftest import Ask
from tests.support.both_ways import LAST
from tests.support.request_grammar import Stream, streams

_IS_SOAK: Final = os.environ.get("CVMFS_MIRROR_SOAK") == "1"
_STREAMS: Final = 12_000 if _IS_SOAK else 1_500


@pytest.mark.soak
def test_any_stream(ask: Ask) -> None:
    """Answers, their records and the end of the connection are the same, with or without it."""
    answers = by_aiohttp = 0

    @settings(max_examples=_STREAMS, suppress_health_check=list(HealthCheck))
    @given(streams(LAST))
    def same(stream: Stream) -> None:
        nonlocal answers, by_aiohttp
        told = ask(stream.pieces, ends=stream.ends, waits=stream.waits, moods=stream.moods)
        answers += len(told.served)
        by_aiohttp += told.by_aiohttp

    same()
    assert by_aiohttp < answers * 2 / 3
