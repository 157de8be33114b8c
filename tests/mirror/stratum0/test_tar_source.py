"""Tarballs as sources: every format, read once as a stream, refused if they are not whole."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import stat
import tarfile
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from mirror.errors import FormatError
from mirror.stratum0.entry import pack_xattrs
from mirror.stratum0.source import SourceEntry, TarSource
from mirror.stratum0.tar_stream import members

FORMATS = [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT]
COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "none": bytes,
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
}


@dataclass(frozen=True, slots=True)
class Member:
    """One member to write."""

    name: str
    content: bytes = b""
    kind: bytes = tarfile.REGTYPE
    link: str = ""
    pax: tuple[tuple[str, str], ...] = ()


def packed(*members: Member, form: int = tarfile.PAX_FORMAT) -> bytes:
    """A tarball."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form, errors="surrogateescape") as tar:
        for member in members:
            info = tarfile.TarInfo(member.name)
            info.size, info.type, info.linkname = len(member.content), member.kind, member.link
            info.mode, info.mtime, info.pax_headers = 0o640, 1_700_000_000, dict(member.pax)
            info.devmajor, info.devminor, info.uid = 8, 1, 7
            tar.addfile(info, io.BytesIO(member.content))
    return buffer.getvalue()


def read(data: bytes) -> list[tuple[SourceEntry, bytes]]:
    """Entries with their contents."""
    return list(_read(io.BytesIO(data)))


def _read(stream: io.IOBase) -> Iterator[tuple[SourceEntry, bytes]]:
    for entry in TarSource(stream, "x.tar").entries():  # type: ignore[arg-type]
        yield entry, entry.stream.read() if entry.stream else b""


def contents(data: bytes) -> dict[bytes, bytes]:
    """Path → content of what the tarball itself mentions."""
    return {entry.path: content for entry, content in read(data) if not entry.is_made_up}


THREE = (Member("a/one", b"1" * 3000), Member("a/two", b"2" * 3000), Member("b", b"3" * 10))
WHOLE = packed(*THREE)
UNPACKED = {b"/a/one": b"1" * 3000, b"/a/two": b"2" * 3000, b"/b": b"3" * 10}


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_every_format_and_compression_is_read(form: int, compression: str) -> None:
    """GNU, pax and ustar; plain, gzip, bzip2 and xz: nobody needs to say which."""
    data = COMPRESSIONS[compression](packed(*THREE, form=form))
    assert contents(data) == UNPACKED


@pytest.mark.parametrize("form", FORMATS)
def test_kinds_are_told(form: int) -> None:
    """Directories, links, fifos and devices with their numbers."""
    kinds = {
        "dir": (tarfile.DIRTYPE, stat.S_IFDIR),
        "link": (tarfile.SYMTYPE, stat.S_IFLNK),
        "fifo": (tarfile.FIFOTYPE, stat.S_IFIFO),
        "chr": (tarfile.CHRTYPE, stat.S_IFCHR),
        "blk": (tarfile.BLKTYPE, stat.S_IFBLK),
    }
    data = packed(
        *(Member(name, kind=kind, link="x") for name, (kind, _) in kinds.items()), form=form
    )
    found = {entry.path: entry for entry, _ in read(data)}
    for name, (_, kind) in kinds.items():
        assert found[b"/" + name.encode()].attributes.mode == kind | 0o640
    assert found[b"/chr"].attributes.rdev == os.makedev(8, 1)
    assert found[b"/link"].symlink == b"x"


def test_what_pax_tells_is_kept() -> None:
    """Fractions of a second to the last digit, before 1970 too; xattrs; bytes that are no text."""
    pax = (
        ("mtime", "-1.000000001"),
        ("SCHILY.xattr.user.note", "caf\udce9"),
        ("uid", "4000000000"),
    )
    ((_, _), (entry, _)) = read(packed(Member("na\udcffme", pax=pax)))
    assert entry.path == b"/na\xffme"
    assert (entry.attributes.mtime, entry.attributes.mtime_ns) == (-2, 999_999_999)
    assert entry.attributes.uid == 4_000_000_000
    assert entry.xattrs == pack_xattrs({b"user.note": b"caf\xe9"})


def test_names_of_xattrs_are_unescaped_as_gnu_tar_escapes_them() -> None:
    """An equals sign and the percent sign; values, and what only looks escaped, stay."""
    pax = (("SCHILY.xattr.user.a%3Db", "1%25"), ("SCHILY.xattr.user.50%253D%41", "2"))
    (_, (entry, _)) = read(packed(Member("name", pax=pax)))
    assert entry.xattrs == pack_xattrs({b"user.a=b": b"1%25", b"user.50%3D%41": b"2"})


def test_without_pax_the_fraction_is_not_known() -> None:
    """Zero would be a claim."""
    ((_, _), (entry, _)) = read(packed(Member("a"), form=tarfile.GNU_FORMAT))
    assert (entry.attributes.mtime, entry.attributes.mtime_ns) == (1_700_000_000, None)


def test_hard_links_name_an_earlier_entry() -> None:
    """Their target is a path in the repository, like all names."""
    found = read(packed(Member("./d/a", b"x"), Member("d/b", kind=tarfile.LNKTYPE, link="./d/a")))
    assert found[-1][0].link_to == b"/d/a"
    assert found[-1][0].stream is None


@pytest.mark.parametrize("name", ["./a/b", "/a/b", "a//b", "a/./b", "a/b/", "//a/b"])
def test_names_are_below_the_base(name: str) -> None:
    """Dots, and slashes at the ends, do not count: nothing is absolute."""
    paths = [entry.path for entry, _ in read(packed(Member(name)))]
    assert paths == [b"", b"/a", b"/a/b"]


@pytest.mark.parametrize("name", ["..", "../a", "a/../b", "a/.."])
def test_names_that_lead_out_are_refused(name: str) -> None:
    """Even where they lead back in."""
    with pytest.raises(FormatError, match="leads out of the tree"):
        read(packed(Member(name)))


def test_targets_of_hard_links_that_lead_out_are_refused() -> None:
    """They would name what is not in the tarball."""
    with pytest.raises(FormatError, match="leads out of the tree"):
        read(packed(Member("a", kind=tarfile.LNKTYPE, link="../etc/shadow")))


def test_directories_that_are_not_mentioned_are_made_up_once() -> None:
    """Parents first, and each once."""
    found = read(packed(Member("a/b/c"), Member("a/b/d"), Member("a/e")))
    made_up = [entry.path for entry, _ in found if entry.is_made_up]
    assert made_up == [b"", b"/a", b"/a/b"]
    assert [entry.path for entry, _ in found].index(b"/a/b") < 3


def test_a_file_in_place_of_a_directory_takes_all_below_it_away() -> None:
    """What comes later below it needs a directory again."""
    members = Member("a/b", b"1"), Member("a", b"2"), Member("a/c", b"3")
    order = [(entry.path, entry.is_made_up) for entry, _ in read(packed(*members))]
    assert order == [
        *[(b"", True), (b"/a", True), (b"/a/b", False), (b"/a", False)],
        *[(b"/a", True), (b"/a/c", False)],
    ]


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_a_tarball_that_was_cut_short_is_refused(compression: str) -> None:
    """Wherever it was: a part is not taken for the whole, or the rest would be removed."""
    data = COMPRESSIONS[compression](WHOLE)
    end = len(data) if compression != "none" else WHOLE.rindex(b"3" * 10) + 512
    for length in range(0, end, max(1, end // 97)):
        with pytest.raises(FormatError, match=r"x\.tar is not a sound tarball"):
            read(data[:length])


@pytest.mark.parametrize("cut", [512, 512 + 3072, 2 * (512 + 3072), 3 * 512 + 2 * 3072])
def test_a_tarball_cut_between_members_is_refused(cut: int) -> None:
    """There, where the standard library sees the end of the archive."""
    with pytest.raises(FormatError, match="not a sound tarball"):
        read(WHOLE[:cut])


@pytest.mark.parametrize("compression", ["gz", "bz2", "xz"])
def test_a_flipped_bit_is_noticed(compression: str) -> None:
    """By the compression's checksum, if by nothing before."""
    data = bytearray(COMPRESSIONS[compression](WHOLE))
    for position in range(12, len(data), max(1, len(data) // 40)):
        broken = data[:position] + bytes([data[position] ^ 16]) + data[position + 1 :]
        try:
            assert contents(bytes(broken)) == UNPACKED
        except FormatError:
            continue


@pytest.mark.parametrize("compression", ["gz", "bz2", "xz"])
def test_compressed_pieces_put_together_are_one(compression: str) -> None:
    """As parallel compressors write them."""
    compress = COMPRESSIONS[compression]
    assert contents(compress(WHOLE[:5000]) + compress(WHOLE[5000:])) == UNPACKED


@pytest.mark.parametrize("data", [b"", b"x", b"hello" * 1000, b"\x1f\x8b", b"BZh", b"PK" * 600])
def test_what_is_no_tarball_is_refused(data: bytes) -> None:
    """With a word about which file."""
    with pytest.raises(FormatError, match=r"x\.tar is not a sound tarball"):
        read(data)


@pytest.mark.parametrize(
    "pax",
    [("uid", "99999999999999999999"), ("mtime", "1e40"), ("mtime", "nan"), ("mtime", "inf")],
)
def test_numbers_beyond_all_reason_are_refused(pax: tuple[str, str]) -> None:
    """Before a database is asked to keep them."""
    with pytest.raises(FormatError, match="not a sound tarball"):
        read(packed(Member("a", pax=(pax,))))


def test_a_root_that_is_no_directory_is_refused() -> None:
    """All else would lie below a file."""
    with pytest.raises(FormatError, match="its root is no directory"):
        read(packed(Member("./", kind=tarfile.SYMTYPE, link="x")))


@contextmanager
def piped(data: bytes, pause: threading.Event) -> Iterator[io.FileIO]:
    """A pipe that gives 150,000 bytes, waits, and gives the rest."""
    reading, writing = os.pipe()

    def write() -> None:
        with open(writing, "wb") as pipe:  # noqa: PTH123 - a descriptor
            pipe.write(data[:150_000])
            pipe.flush()
            assert pause.wait(30)
            pipe.write(data[150_000:])

    writer = threading.Thread(target=write)
    writer.start()
    with io.FileIO(reading) as raw:
        yield raw
    writer.join()


def test_a_pipe_is_read_as_it_comes() -> None:
    """Nothing is sought: the first entries are there before the last are written."""
    data = packed(Member("one", bytes(100_000)), Member("two", bytes(100_000)))
    read_one = threading.Event()
    found = {}
    with piped(data, read_one) as raw:
        for entry, content in _read(raw):
            found[entry.path] = content
            if entry.path == b"/one":
                read_one.set()
    assert found == {b"": b"", b"/one": bytes(100_000), b"/two": bytes(100_000)}


def test_members_are_forgotten() -> None:
    """A tarball of ten million files needs no memory for them."""
    tracemalloc.start()
    peaks = []
    for count in (300, 3000):
        data = packed(*(Member(f"{number:05}") for number in range(count)))
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        assert sum(1 for _ in members(io.BytesIO(data))) == count
        peaks.append(tracemalloc.get_traced_memory()[1] - before)
    tracemalloc.stop()
    assert peaks[1] < peaks[0] + 500_000
