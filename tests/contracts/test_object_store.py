"""What every store promises; see `mirror.store.base`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Protocol

import pytest

from mirror.cvmfs.content_hash import Algorithm, ContentHash, Suffix
from mirror.cvmfs.paths import MANIFEST, TEMPORARIES, WHITELIST, alternative_path, object_path
from mirror.errors import Corrupted, FormatError, ObjectMissing
from mirror.store.base import ObjectStore
from mirror.store.local import LocalStore
from mirror.store.memory import MemoryStore
from tests.support.loops import run, turns
from tests.support.watched import Recorder, WatchedStore

SMALL = b"hello"
LARGE = bytes(range(256)) * 2048  # more than any store keeps in memory
CONTENTS = pytest.mark.parametrize("content", [b"", SMALL, LARGE], ids=["empty", "small", "large"])


class UnderTest(Protocol):
    """A store, and what a test may know of its inside."""

    store: ObjectStore

    def damage(self, content_hash: ContentHash, content: bytes) -> None:
        """Put other bytes under an object's name, as a failing disk does."""

    def alternative(self, content_hash: ContentHash) -> bytes:
        """What clients get for the alternative path."""

    def leftovers(self) -> list[str]:
        """What is neither visible nor gone."""


class Local:
    """A `LocalStore` below some directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.store: ObjectStore = LocalStore(root)

    def damage(self, content_hash: ContentHash, content: bytes) -> None:
        """Overwrite the file."""
        (self.root / object_path(content_hash)).write_bytes(content)

    def alternative(self, content_hash: ContentHash) -> bytes:
        """Follow the link."""
        return (self.root / alternative_path(content_hash)).read_bytes()

    def leftovers(self) -> list[str]:
        """Temporary files."""
        return [path.name for path in (self.root / TEMPORARIES).iterdir()]


class Memory:
    """A `MemoryStore`."""

    def __init__(self, _root: Path) -> None:
        self.memory = MemoryStore()
        self.store: ObjectStore = self.memory

    def damage(self, content_hash: ContentHash, content: bytes) -> None:
        """Overwrite the value."""
        self.memory.objects[content_hash] = content

    def alternative(self, content_hash: ContentHash) -> bytes:
        """Follow the link."""
        target = self.memory.root_files[alternative_path(content_hash)]
        return next(data for name, data in self.memory.objects.items() if _path(name) == target)

    def leftovers(self) -> list[str]:
        """Uploads that nobody ended."""
        return ["an upload"] * self.memory.open_uploads


class Watched(Memory):
    """The tests' own decorator, which may not change what it decorates."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.store = WatchedStore(self.memory, Recorder())


def _path(content_hash: ContentHash) -> bytes:
    return object_path(content_hash).encode()


@pytest.fixture(params=[Local, Memory, Watched])
def under_test(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[UnderTest]:
    """A prepared store; afterwards nothing may be left behind."""
    make: Callable[[Path], UnderTest] = request.param
    tested = make(tmp_path / "srv")
    run(tested.store.prepare())
    descriptors = open_files()
    yield tested
    assert tested.leftovers() == []
    assert open_files() <= descriptors


def open_files() -> set[str]:
    """This process's file descriptors."""
    return {path.name for path in Path("/proc/self/fd").iterdir()}


@pytest.fixture
def store(under_test: UnderTest) -> ObjectStore:
    """The store alone."""
    return under_test.store


def name_of(
    content: bytes, suffix: Suffix = Suffix.NONE, algorithm: Algorithm = Algorithm.SHA1
) -> ContentHash:
    """The hash that the content has."""
    return ContentHash.of(algorithm, content, suffix)


async def put(store: ObjectStore, content: bytes, name: ContentHash | None = None) -> ContentHash:
    """Store an object, in pieces; under its right name unless another is given."""
    name = name or name_of(content)
    async with store.upload(name.algorithm) as upload:
        for start in range(0, len(content), 100_000):
            await upload.write(content[start : start + 100_000])
        await upload.commit(name)
    return name


async def read(store: ObjectStore, name: ContentHash) -> bytes:
    """The whole object."""

    def read_whole() -> bytes:
        with store.open_object(name) as file:
            return file.read()

    return await asyncio.to_thread(read_whole)


# --- becoming visible ---------------------------------------------------------------------------


@CONTENTS
@pytest.mark.parametrize("algorithm", Algorithm)
@pytest.mark.parametrize("suffix", [Suffix.NONE, Suffix.CATALOG])
def test_commit_makes_visible(
    store: ObjectStore, content: bytes, algorithm: Algorithm, suffix: Suffix
) -> None:
    """After commit an object is there, sound, and reads back."""

    async def main() -> None:
        name = await put(store, content, name_of(content, suffix, algorithm))
        assert await store.present([name]) == await store.sound([name]) == {name}
        assert await read(store, name) == content

    run(main())


@CONTENTS
def test_nothing_is_visible_before_commit(store: ObjectStore, content: bytes) -> None:
    """What was written, and even verified, is not there yet."""

    async def main() -> None:
        async with store.upload(Algorithm.SHA1) as upload:
            await upload.write(content)
            assert upload.size_bytes == len(content)
            assert await store.present([name_of(content)]) == set()
            await upload.verify(name_of(content))
            assert await store.present([name_of(content)]) == set()

    run(main())


@CONTENTS
def test_wrong_hash_is_never_visible(store: ObjectStore, content: bytes) -> None:
    """Bytes that do not have the expected hash are Corrupted, under any name."""
    wrong = name_of(b"something else")

    async def main() -> None:
        with pytest.raises(Corrupted, match=object_path(wrong)):
            await put(store, content, wrong)
        assert await store.present([wrong, name_of(content)]) == set()

    run(main())


@CONTENTS
def test_hash_is_judged_before_the_commit(store: ObjectStore, content: bytes) -> None:
    """A verify that fails gives nothing to read and nothing to commit."""

    async def main() -> None:
        async with store.upload(Algorithm.SHA1) as upload:
            await upload.write(content)
            with pytest.raises(Corrupted):
                await upload.verify(name_of(b"something else"))
            with pytest.raises(RuntimeError):
                upload.reopen()

    run(main())


@CONTENTS
def test_verified_bytes_can_be_reopened(store: ObjectStore, content: bytes) -> None:
    """Whoever verified may read, also when a commit follows."""

    async def main() -> ContentHash:
        async with store.upload(Algorithm.SHA1) as upload:
            await upload.write(content)
            await upload.verify(name_of(content))
            with upload.reopen() as file:
                assert file.read() == content
            await upload.commit(name_of(content))
        return name_of(content)

    assert run(main()) in run(store.present([name_of(content)]))


def test_nothing_is_reopened_unverified(store: ObjectStore) -> None:
    """Bytes that nobody vouches for are not given out."""

    async def main() -> None:
        async with store.upload(Algorithm.SHA1) as upload:
            await upload.write(SMALL)
            with pytest.raises(RuntimeError, match="before verify"):
                upload.reopen()

    run(main())


@CONTENTS
def test_nothing_is_written_after_verify(store: ObjectStore, content: bytes) -> None:
    """What was verified is what is committed."""

    async def main() -> None:
        async with store.upload(Algorithm.SHA1) as upload:
            await upload.write(content)
            await upload.verify(name_of(content))
            with pytest.raises(RuntimeError, match="after verify"):
                await upload.write(b"more")

    run(main())


def test_verified_for_another_name(store: ObjectStore) -> None:
    """A commit may not ask for another hash than the bytes were verified to have."""

    async def main() -> None:
        async with store.upload(Algorithm.SHA1) as upload:
            await upload.write(SMALL)
            await upload.verify(name_of(SMALL))
            with pytest.raises(Corrupted):
                await upload.commit(name_of(LARGE))
        assert await store.present([name_of(SMALL), name_of(LARGE)]) == set()

    run(main())


@CONTENTS
def test_commit_replaces_in_one_step(under_test: UnderTest, content: bytes) -> None:
    """Whoever has the old, damaged object open keeps it; whoever opens it next has the new one."""
    store, name = under_test.store, name_of(content)

    async def main() -> None:
        await put(store, content)
        under_test.damage(name, b"damaged")
        with store.open_object(name) as old:
            await put(store, content)
            assert old.read() == b"damaged"
        assert await read(store, name) == content

    run(main())


@pytest.mark.parametrize("size_bytes", [10, 200_000])
def test_many_commits_at_once(store: ObjectStore, size_bytes: int) -> None:
    """Commits that wait for each other all become visible; wrong ones among them harm nobody."""
    contents = [f"{number:0{size_bytes}}".encode() for number in range(60)]

    async def main() -> None:
        wrong = [put(store, b"wrong", name_of(f"{n}".encode())) for n in range(5)]
        right = [put(store, content) for content in contents]
        results = await asyncio.gather(*wrong, *right, return_exceptions=True)
        assert [type(result) for result in results[:5]] == [Corrupted] * 5
        assert await store.sound(list(map(name_of, contents))) == set(results[5:])

    run(main())


# --- giving up ----------------------------------------------------------------------------------


@CONTENTS
@pytest.mark.parametrize("is_verified", [False, True])
def test_abort_forgets(store: ObjectStore, content: bytes, *, is_verified: bool) -> None:
    """After an abort, repeated or not, nothing can bring the bytes back."""

    async def main() -> None:
        upload = store.upload(Algorithm.SHA1)
        await upload.write(content)
        if is_verified:
            await upload.verify(name_of(content))
        await upload.abort()
        await upload.abort()
        with pytest.raises(RuntimeError, match="ended"):
            await upload.commit(name_of(content))
        assert await store.present([name_of(content)]) == set()

    run(main())


@CONTENTS
def test_abort_after_commit_is_harmless(store: ObjectStore, content: bytes) -> None:
    """What was committed stays, whatever the cleaning up does; and is committed once."""

    async def main() -> None:
        upload = store.upload(Algorithm.SHA1)
        await upload.write(content)
        await upload.commit(name_of(content))
        await upload.abort()
        with pytest.raises(RuntimeError, match="ended"):
            await upload.commit(name_of(content))
        assert await read(store, name_of(content)) == content

    run(main())


@CONTENTS
def test_leaving_without_commit_aborts(store: ObjectStore, content: bytes) -> None:
    """An exception on the way through the block is an abort, and goes on its way."""

    async def main() -> None:
        with suppress(LookupError):
            async with store.upload(Algorithm.SHA1) as upload:
                await upload.write(content)
                raise LookupError
        assert await store.present([name_of(content)]) == set()

    run(main())


@CONTENTS
def test_cancelled_commits_are_whole_or_nothing(store: ObjectStore, content: bytes) -> None:
    """A commit that is cancelled has happened or has not, and never happens later."""

    async def main() -> None:
        for patience in range(12):
            contents = [b"%d %d" % (patience, n) + content for n in range(5)]
            tasks = [asyncio.create_task(put(store, each)) for each in contents]
            await turns(patience)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            there = await store.present(list(map(name_of, contents)))
            await put(store, b"the next")
            assert await store.sound(list(map(name_of, contents))) == there

    run(main())


# --- reading ------------------------------------------------------------------------------------


def test_missing_object(store: ObjectStore) -> None:
    """What is not there is neither present nor sound, and opening it says so."""
    name = name_of(SMALL)

    async def main() -> IO[bytes]:
        assert await store.present([name]) == await store.sound([name]) == set()
        return store.open_object(name)

    with pytest.raises(ObjectMissing, match=object_path(name)):
        run(main())


def test_empty_files_do_not_count(under_test: UnderTest) -> None:
    """An empty file is what a torn write leaves, and is no object unless its hash says so."""
    torn, empty = name_of(SMALL), name_of(b"")
    for name in (torn, empty):
        under_test.damage(name, b"")
    assert run(under_test.store.present([torn, empty])) == {empty}
    assert run(under_test.store.sound([torn, empty])) == {empty}


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "large"])
def test_sound_reads_every_byte(under_test: UnderTest, content: bytes) -> None:
    """One bit that flipped in the last byte: the object is present and not sound."""
    good, bad = run(put(under_test.store, b"good")), run(put(under_test.store, content))
    under_test.damage(bad, content[:-1] + bytes([content[-1] ^ 1]))
    assert run(under_test.store.present([good, bad])) == {good, bad}
    assert run(under_test.store.sound([good, bad])) == {good}


def test_suffix_is_part_of_the_name(store: ObjectStore) -> None:
    """The same bytes as a catalog are another object."""
    run(put(store, SMALL))
    assert run(store.present([name_of(SMALL, Suffix.CATALOG)])) == set()


# --- root files ---------------------------------------------------------------------------------


def test_root_files_are_kept_whole(store: ObjectStore) -> None:
    """What is written is what is read, and only under its own name."""

    async def main() -> None:
        assert await store.read_root_file(MANIFEST, 10) is None
        await store.write_root_file(MANIFEST, b"0123456789")
        await store.write_root_file(WHITELIST, b"")
        assert await store.read_root_file(MANIFEST, 10) == b"0123456789"
        assert await store.read_root_file(WHITELIST, 10) == b""

    run(main())


def test_root_files_are_read_within_a_limit(store: ObjectStore) -> None:
    """One byte above the limit is too much."""
    run(store.write_root_file(MANIFEST, b"0123456789"))
    with pytest.raises(FormatError, match="larger than 9 bytes"):
        run(store.read_root_file(MANIFEST, 9))


def test_root_files_are_replaced_in_one_step(store: ObjectStore) -> None:
    """Whoever reads meanwhile gets the old one or the new one, whole."""
    versions = [bytes([65 + number]) * 50_000 for number in range(10)]

    async def main() -> None:
        await store.write_root_file(MANIFEST, versions[0])
        for version in versions:
            writing = asyncio.ensure_future(store.write_root_file(MANIFEST, version))
            while not writing.done():
                assert await store.read_root_file(MANIFEST, 50_000) in versions
                await turns(1)
            assert await store.read_root_file(MANIFEST, 50_000) == version

    run(main())


def test_root_files_can_be_removed(store: ObjectStore) -> None:
    """Removing is harmless when there is nothing to remove."""

    async def main() -> None:
        await store.write_root_file(MANIFEST, SMALL)
        await store.remove_root_file(MANIFEST)
        await store.remove_root_file(MANIFEST)
        assert await store.read_root_file(MANIFEST, 10) is None

    run(main())


@pytest.mark.parametrize("name", ["../.cvmfspublished", "data/00/ab", "", ".cvmfs/x", "README"])
def test_root_files_stay_at_the_root(store: ObjectStore, name: str) -> None:
    """A name that is not a root file's is a mistake of ours."""
    with pytest.raises(ValueError, match="not the name of a root file"):
        run(store.write_root_file(name, b""))


@pytest.mark.parametrize("suffix", [Suffix.CATALOG, Suffix.CERTIFICATE])
def test_alternative_path_leads_to_the_object(under_test: UnderTest, suffix: Suffix) -> None:
    """The object can be had by the other path too, however often that is placed."""
    store = under_test.store

    async def main() -> ContentHash:
        name = await put(store, SMALL, name_of(SMALL, suffix))
        await store.place_alternative(name)
        await store.place_alternative(name)
        return name

    assert under_test.alternative(run(main())) == SMALL


def test_prepare_keeps_what_is_there(store: ObjectStore) -> None:
    """Preparing once more takes nothing away."""
    name = run(put(store, SMALL))
    run(store.write_root_file(MANIFEST, SMALL))
    run(store.prepare())
    assert run(read(store, name)) == run(store.read_root_file(MANIFEST, 10)) == SMALL
