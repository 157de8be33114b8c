"""Parts of an object: which bytes a Range header means, and how they are sent."""

from __future__ import annotations

import asyncio
import email
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.serve.ranges import Unsatisfiable, parts
from tests.support.both_ways import LAST, path, write_tree
from tests.support.streams import Server, server

SIZE: Final = 5_000
NUMBER: Final = st.integers(0, 30) | st.integers(0, 10**18 - 1)
RANGE: Final = st.tuples(NUMBER, st.none() | NUMBER) | st.tuples(st.none(), NUMBER)


def _written(first: int | None, last: int | None) -> str:
    return f"{'' if first is None else first}-{'' if last is None else last}"


def _meant(first: int | None, last: int | None, size: int) -> list[int]:
    """Positions of the bytes, one by one (RFC 9110, 14.1.2)."""
    if first is None:
        return list(range(size))[max(0, size - (last or 0)) :]
    return [at for at in range(size) if first <= at and (last is None or at <= last)]


@given(RANGE, st.integers(1, 40))
def test_one_range(wanted: tuple[int | None, int | None], size: int) -> None:
    """The bytes between first and last, both included, as far as there are any."""
    first, last = wanted
    header = f"bytes={_written(first, last)}"
    meant = _meant(first, last, size)
    if first is not None and last is not None and last < first:
        assert parts(header, size) == []
    elif not meant:
        with pytest.raises(Unsatisfiable):
            parts(header, size)
    else:
        assert parts(header, size) == [(meant[0], meant[-1] + 1)]


@given(st.lists(RANGE, min_size=2, max_size=16), st.integers(1, 40))
def test_several_ranges(wanted: list[tuple[int | None, int | None]], size: int) -> None:
    """Each part by itself, in order and apart from each other, or else all of the object."""
    header = "bytes=" + ", ".join(_written(*each) for each in wanted)
    is_valid = all(first is None or last is None or first <= last for first, last in wanted)
    meant = [positions for each in wanted if (positions := _meant(*each, size))]
    flat = [at for positions in meant for at in positions]
    if is_valid and not meant:
        with pytest.raises(Unsatisfiable):
            parts(header, size)
    elif not is_valid or flat != sorted(set(flat)):
        assert parts(header, size) == []
    else:
        assert parts(header, size) == [(each[0], each[-1] + 1) for each in meant]


@given(st.text("bytes=0123456789-, \t;x٣", max_size=30), st.integers(0, 40))
def test_any_text(header: str, size: int) -> None:
    """Whatever it says, there are parts of the object, or none, or it cannot be."""
    try:
        found = parts(header, size)
    except Unsatisfiable:
        return
    assert all(0 <= first < end <= size for first, end in found)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=2-1",
        "bytes=1-2,x",
        "bytes=1-2,",
        "items=1-2",
        "bytes=-1-2",
        "bytes=0x1-2",
        "bytes=٣-",
        "bytes=1 - 2",
        "bytes=" + ",".join(f"{at}-{at}" for at in range(17)),
        "bytes=" + "9" * 19 + "-",
        "bytes=0-3,2-5",
        "bytes=4-5,0-1",
        "bytes=" + " " * 2000 + "1-2",
    ],
)
def test_not_understood_is_not_there(header: str) -> None:
    """All of the object is sent then, as the standard demands of whoever ignores ranges."""
    assert parts(header, 100) == []


@pytest.mark.parametrize(("header", "is_possible"), [("-5", True), ("-0", False), ("0-", False)])
def test_nothing_has_a_last_part(header: str, *, is_possible: bool) -> None:
    """The last bytes of an empty object are all of it; it has no first byte."""
    if is_possible:
        assert parts(f"bytes={header}", 0) == []
    else:
        with pytest.raises(Unsatisfiable):
            parts(f"bytes={header}", 0)


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    """An event loop for all of the module."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Objects of all sizes."""
    storage = tmp_path_factory.mktemp("srv")
    write_tree(storage)
    return storage


@pytest.fixture(scope="module")
def ours(runner: asyncio.Runner, storage: Path) -> Iterator[Server]:
    """Our server."""
    context = server(storage)
    yield runner.run(context.__aenter__())
    runner.run(context.__aexit__(None, None, None))


@given(st.lists(st.integers(0, SIZE), min_size=4, max_size=20, unique=True).map(sorted))
def test_multipart_answer(
    runner: asyncio.Runner, ours: Server, storage: Path, edges: list[int]
) -> None:
    """Any parser of mail takes it apart again: the bytes asked for, each with its place."""
    pairs = list(zip(edges[::2], edges[1::2], strict=False))
    header = ",".join(f"{first}-{end - 1}" for first, end in pairs).encode()
    request = b"GET " + path(2) + b" HTTP/1.1\r\nHost: x\r\nRange: bytes=" + header
    told = runner.run(ours.tell([request + b"\r\n\r\n" + LAST]))
    head, _, rest = told.answer.partition(b"\r\n\r\n")
    length = int(re.findall(rb"Content-Length: (\d+)", head)[0])
    # the boundary of 32 letters became a shorter word, once for each part and once at the end
    body = rest[: length - (len(pairs) + 1) * (32 - len(b"BOUNDARY"))]
    assert rest.startswith(body + b"HTTP/1.1 404")
    content = (storage / path(2).removeprefix(b"/cvmfs/").decode()).read_bytes()
    message = email.message_from_bytes(head.partition(b"\r\n")[2] + b"\r\n\r\n" + body)
    found = [
        (part["Content-Range"], part.get_payload(decode=True))
        for part in message.walk()
        if not part.is_multipart()
    ]
    assert found == [
        (f"bytes {first}-{end - 1}/{SIZE}", content[first:end]) for first, end in pairs
    ]
