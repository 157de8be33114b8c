from __future__ import annotations

import io
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.cvmfs.compression import decompress, decompress_into
from mirror.errors import FormatError
from tests.support.hostile import mutated, survives

MIB = 1024 * 1024
BOMB = zlib.compress(bytes(64 * MIB), 9)
PACKED = zlib.compress(b"some text, some text", 9)


def unpack_file(packed: bytes, max_bytes: int) -> tuple[bytes, int]:
    """Unpack by the way that goes from file to file."""
    sink = io.BytesIO()
    size_bytes = decompress_into(sink, io.BytesIO(packed), max_bytes, "it")
    return sink.getvalue(), size_bytes


@given(st.binary(max_size=5000), st.integers(0, 9))
def test_unpacking_inverts_packing(content: bytes, level: int) -> None:
    """What was packed at any level comes back, by both ways, at exactly the limit."""
    packed = zlib.compress(content, level)
    assert decompress(packed, len(content), "it") == content
    assert unpack_file(packed, len(content)) == (content, len(content))


def test_content_larger_than_a_step() -> None:
    """Content of many steps, in many blocks of input, comes back whole."""
    content = bytes(range(256)) * 20_000
    packed = zlib.compress(content, 0)
    assert unpack_file(packed, len(content)) == (content, len(content))


@pytest.mark.parametrize("unpack", [lambda p, m: decompress(p, m, "it"), unpack_file])
def test_one_byte_too_many_is_refused(unpack: object) -> None:
    """The limit is exact."""
    assert callable(unpack)
    with pytest.raises(FormatError, match="more than 19 bytes"):
        unpack(PACKED, 19)


def test_bomb_is_stopped_at_the_limit() -> None:
    """A bomb never gets to write more than the limit."""
    sink = io.BytesIO()
    with pytest.raises(FormatError, match="the bomb unpacks to more than"):
        decompress_into(sink, io.BytesIO(BOMB), MIB, "the bomb")
    assert len(sink.getvalue()) <= MIB


@pytest.mark.parametrize("length", range(len(PACKED)))
def test_streams_cut_short_are_refused(length: int) -> None:
    """A stream that ends early is refused wherever it ends."""
    with pytest.raises(FormatError, match="cut short"):
        decompress(PACKED[:length], 100, "it")


@pytest.mark.parametrize("tail", [b"\0", b"garbage", PACKED])
def test_bytes_behind_the_end_are_refused(tail: bytes) -> None:
    """Nothing may hide behind a stream, be it another stream."""
    with pytest.raises(FormatError, match="behind the end"):
        decompress(PACKED + tail, 100, "it")


def test_bytes_in_a_later_block_are_refused() -> None:
    """A tail is found though the stream ended exactly with a block of the file."""
    block = zlib.compress(bytes(262_100), 0)
    content = bytes(262_100 + 256 * 1024 - len(block))
    packed = zlib.compress(content, 0)
    assert len(packed) == 256 * 1024
    with pytest.raises(FormatError, match="behind the end"):
        unpack_file(packed + b"tail", MIB)


@pytest.mark.parametrize(
    "data", [b"not zlib", zlib.compress(b"x")[2:], b"\x1f\x8b\x08" + bytes(20)]
)
def test_other_streams_are_refused(data: bytes) -> None:
    """Raw deflate, gzip and noise are no zlib streams."""
    with pytest.raises(FormatError, match="not a zlib stream"):
        decompress(data, 100, "it")


def test_wrong_checksum_is_refused() -> None:
    """The checksum at the end of a stream is looked at."""
    with pytest.raises(FormatError, match="not a zlib stream"):
        decompress(PACKED[:-1] + b"\0", 100, "it")


@given(st.binary() | mutated(PACKED))
def test_any_bytes_unpack_or_are_refused(data: bytes) -> None:
    """No bytes make it fail in another way."""
    survives(lambda packed: decompress(packed, 1000, "it"), data)
