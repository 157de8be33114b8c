"""Chunks: cut where the rolling checksum says, and nothing lost."""

from __future__ import annotations

import random
from collections.abc import Iterator
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.stratum0.chunking import ChunkSizes, chunks

SIZES = ChunkSizes(smallest=64, average=128, largest=512)


def naive(data: bytes, sizes: ChunkSizes) -> Iterator[bytes]:
    """Byte by byte, as documented: 32 bits, each step shifts by one and XORs the next byte in."""
    start = 0
    while start < len(data) or start == 0:
        checksum, end = 0, start
        while end < len(data) and end - start < sizes.largest:
            if end - start >= sizes.smallest - 32:
                checksum = (checksum << 1 ^ data[end]) & 0xFFFF_FFFF
            if end - start >= sizes.smallest and _is_near(checksum, sizes):
                break
            end += 1
        yield data[start:end]
        start = end
        if start == 0:
            return


def _is_near(checksum: int, sizes: ChunkSizes) -> bool:
    signed = checksum - (checksum >> 31 << 32)
    distance = (signed - 0x7FFF_FFFF + 2**31) % 2**32 - 2**31  # as 32 bits overflow
    return (distance if distance == -(2**31) else abs(distance)) < 0xFFFF_FFFF // sizes.average


def cut(data: bytes, sizes: ChunkSizes = SIZES) -> list[bytes]:
    """All chunks."""
    return list(chunks(BytesIO(data), sizes))


CONTENTS = st.one_of(
    st.binary(max_size=4000),
    st.builds(
        lambda seed, size: random.Random(seed).randbytes(size),
        st.integers(0, 10_000),
        st.integers(0, 6000),
    ),
    st.builds(lambda unit, count: unit * count, st.binary(min_size=1, max_size=70), st.just(40)),
)
BOUNDS = st.tuples(st.integers(33, 80), st.integers(1, 100), st.integers(1, 500)).map(
    lambda each: ChunkSizes(each[0], each[0] + each[1], sum(each))
)


@given(CONTENTS, BOUNDS)
def test_cuts_are_those_of_the_naive_loop(data: bytes, sizes: ChunkSizes) -> None:
    """Doubling gives the same checksums as rolling, for any bounds."""
    assert cut(data, sizes) == list(naive(data, sizes))


@given(CONTENTS, BOUNDS)
def test_nothing_is_lost_and_bounds_hold(data: bytes, sizes: ChunkSizes) -> None:
    """Chunks put together are the content; all but the last are within the bounds."""
    pieces = cut(data, sizes)
    assert b"".join(pieces) == data
    assert all(sizes.smallest <= len(piece) <= sizes.largest for piece in pieces[:-1])
    assert len(pieces) == 1 or pieces[-1]


@pytest.mark.parametrize("byte", [b"\0", b"\xff", b"\x7f", b"\x80"])
def test_the_same_byte_over_and_over_is_cut_like_the_rest(byte: bytes) -> None:
    """The checksum's edges, where differences overflow, are the naive loop's too."""
    assert cut(byte * 5000) == list(naive(byte * 5000, SIZES))


def test_large_contents_are_cut_alike_across_the_steps_of_the_search() -> None:
    """With the real bounds: what is looked at a MiB at a time has no seams."""
    data = random.Random(1).randbytes(4_500_000)
    sizes = ChunkSizes(smallest=2**20, average=3 * 2**20, largest=2**22)
    assert cut(data, sizes) == list(naive(data, sizes))


def test_a_change_in_the_middle_moves_no_other_cut() -> None:
    """Bytes put in or taken out change the chunks around them only."""
    data = random.Random(2).randbytes(60_000)
    changed = data[:30_000] + b"inserted" + data[30_500:]
    before, after = cut(data), cut(changed)
    assert len(set(after) - set(before)) <= 3
    assert len(before) > 100


def test_an_empty_content_is_one_empty_chunk() -> None:
    """So that an empty file has an object."""
    assert cut(b"") == [b""]


def test_a_content_no_larger_than_the_smallest_is_one_chunk() -> None:
    """And one that is larger may be two."""
    assert len(cut(b"x" * SIZES.smallest)) == 1


def test_no_more_than_a_chunk_is_read_ahead() -> None:
    """Memory is bounded by one chunk, however large the file."""
    file = BytesIO(random.Random(3).randbytes(20_000))
    given_out = 0
    for piece in chunks(file, SIZES):
        given_out += len(piece)
        assert file.tell() - given_out <= SIZES.largest
