"""A partition of the disk tier: what is kept, what goes first, and what a kill or damage costs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from mirror.serve.content import FileRange
from proxy.cache.partition import Layout, Partition, key_of
from proxy.cache.segments import HEADER_BYTES

SEGMENT = 64 * 1024
LAYOUT = Layout(segments=20, segment_bytes=SEGMENT, entries=4000)


@pytest.fixture
def partition(tmp_path: Path) -> Iterator[Partition]:
    """An empty one that may be written to."""
    partition = Partition(tmp_path, LAYOUT)
    assert partition.lock()
    yield partition
    partition.close()


def name(number: int) -> bytes:
    """Of an object."""
    return b"data/ab/%038x" % number


def content(number: int, size: int = 1000) -> bytes:
    """Of that object."""
    return Random(number).randbytes(size)


def fill(partition: Partition) -> None:
    """Until something has to go: from then on newcomers are on probation."""
    for number in range(50_000, 51_200):
        partition.add(name(number), content(number))


def read(partition: Partition, of: bytes) -> bytes | None:
    """The bytes kept under a name; None for none."""
    found = partition.find(key_of(of))
    if found is None:
        return None
    place, file = found
    whole = FileRange(file.descriptor, place.length, place.offset, file).at_hand(0, place.length)
    assert whole is not None
    if not partition.is_record(of, place, bytes(whole[:HEADER_BYTES])):
        return None
    return bytes(whole[HEADER_BYTES:])


def ask(partition: Partition, number: int) -> bool:
    """Ask for an object as a proxy does, and fetch it if it is not there; whether it was."""
    is_here = read(partition, name(number)) == content(number)
    if is_here:
        partition.want(key_of(name(number)))
    else:
        partition.add(name(number), content(number))
    return is_here


@pytest.mark.parametrize("size", [0, 1, 1000, SEGMENT - HEADER_BYTES])
def test_kept(partition: Partition, size: int) -> None:
    """What was added is found, byte for byte."""
    assert partition.fits(size)
    assert read(partition, name(1)) is None
    partition.add(name(1), content(1, size))
    partition.add(name(2), b"another")
    assert read(partition, name(1)) == content(1, size)


def test_too_large(partition: Partition) -> None:
    """What no segment can take is told apart before it is tried."""
    assert not partition.fits(SEGMENT - HEADER_BYTES + 1)


def test_from_a_file(partition: Partition, tmp_path: Path) -> None:
    """Large objects come from the file into which they were fetched."""
    path = tmp_path / "fetched"
    path.write_bytes(b"before" + content(1, 50_000))
    with path.open("rb") as file:
        partition.add(name(1), FileRange(file.fileno(), 50_000, 6))
    assert read(partition, name(1)) == content(1, 50_000)


def test_oldest_first(partition: Partition) -> None:
    """Nothing goes while there is room; then newcomers that nobody asks for again, in order."""
    for number in range(3000):
        partition.add(name(number), content(number))
    here = [number for number in range(3000) if read(partition, name(number)) is not None]
    first = [number for number in here if number < 2000]
    assert first == list(range(len(first)))
    assert len(first) * 1200 >= (LAYOUT.settled - 1) * SEGMENT
    assert here[len(first) :] == list(range(here[len(first)], 3000))


def test_bounded(tmp_path: Path, partition: Partition) -> None:
    """The files never take more than the layout says."""
    random = Random(5)
    for _ in range(5000):
        ask(partition, random.randrange(1500))
    segments = [each for each in tmp_path.iterdir() if "." in each.name]
    assert sum(each.stat().st_size for each in segments) <= LAYOUT.segments * SEGMENT
    assert partition.evictions > 0


def test_scans(partition: Partition) -> None:
    """A job that reads everything once does not push out what others ask for again and again."""
    random = Random(7)
    for _ in range(3000):
        ask(partition, random.randrange(300))
    hits = total = 0
    for scanned in range(10_000, 40_000):
        ask(partition, scanned)
        if scanned % 10 == 0:
            total += 1
            hits += ask(partition, random.randrange(300))
    assert hits / total > 0.95


def test_wanted_again_soon(partition: Partition) -> None:
    """Who comes back while remembered settles, though it was pushed out."""
    fill(partition)
    for number in range(400):
        partition.add(name(number), content(number))
    assert read(partition, name(0)) is None
    partition.add(name(0), content(0))
    for number in range(1000, 1400):
        partition.add(name(number), content(number))
    assert read(partition, name(0)) == content(0)


def test_after_a_restart(tmp_path: Path, partition: Partition) -> None:
    """Everything is there at once, and writing goes on where it stopped."""
    for number in range(500):
        ask(partition, number % 90)
    again = Partition(tmp_path, LAYOUT)
    here = [number for number in range(90) if read(again, name(number)) == content(number)]
    assert here == [n for n in range(90) if read(partition, name(n)) == content(n)]
    partition.unlock()
    assert again.lock()
    again.add(name(1000), content(1000))
    assert read(partition, name(1000)) == content(1000)
    again.close()


def test_one_writes(tmp_path: Path, partition: Partition) -> None:
    """Two would write over each other."""
    other = Partition(tmp_path, LAYOUT)
    assert not other.lock()
    partition.unlock()
    assert other.lock()
    other.close()


def test_readers_keep_what_they_send(partition: Partition) -> None:
    """A segment that is replaced while somebody sends from it stays theirs."""
    fill(partition)
    partition.add(name(1), content(1))
    found = partition.find(key_of(name(1)))
    assert found is not None
    place, file = found
    for number in range(1000, 3000):
        partition.add(name(number), content(number))
    assert read(partition, name(1)) is None
    body = FileRange(file.descriptor, 1000, place.offset + HEADER_BYTES, file)
    assert body.at_hand(0, 1000) == content(1)


def test_another_layout(tmp_path: Path, partition: Partition) -> None:
    """A cache of another size begins anew rather than misread."""
    partition.add(name(1), content(1))
    other = Partition(tmp_path, Layout(10, SEGMENT // 2, 100))
    assert read(other, name(1)) in (None, content(1))
    other.close()


@pytest.mark.parametrize("seed", range(20))
def test_damage(tmp_path: Path, partition: Partition, seed: int) -> None:
    """Whatever happens to the files, no bytes are found under the name of others."""
    random = Random(seed)
    for number in range(200):
        partition.add(name(number), content(number))
    for path in tmp_path.iterdir():
        if path.name == "lock":
            continue
        raw = bytearray(path.read_bytes())
        for _ in range(random.randrange(1, 200)):
            raw[random.randrange(len(raw))] = random.randrange(256)
        path.write_bytes(raw)
    for number in range(200):
        found = read(partition, name(number))
        assert found is None or len(found) == 1000
    partition.add(name(500), content(500))
