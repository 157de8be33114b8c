# ruff: noqa: PTH101, PTH102, PTH103, PTH115, PTH120, PTH123, PTH211
# Names that are not text need functions that take bytes
"""A directory with everything a file system can hold, and what a client should see of it."""

from __future__ import annotations

import hashlib
import os
import random
import socket
import stat
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

VARIANT: Final = b"CVMFS_TEST_VARIANT"
"""What a variant link names; clients are configured with `VARIANT_CONFIG`."""
CHOSEN: Final = b"chosen"
VARIANT_CONFIG: Final = f"{VARIANT.decode()}={CHOSEN.decode()}\nexport {VARIANT.decode()}\n"

ODD_NAMES: Final = (
    b"two blanks ",
    b"line\nbreak",
    b"tab\there",
    b"bytes \xff\xfe\x80",
    b"na\xc3\xafve",
    b"-rf *",
    b"$(no variant)",
    b"%41",
    b"#?&",
    b"n" * 255,
)
CAPABILITY: Final = bytes.fromhex("0100000200200000000000000000000000000000")
"""What ``setcap cap_net_raw=ep`` writes."""

_MIB: Final = 1024 * 1024
_NANO: Final = 1_000_000_000
Seen = dict[bytes, dict[str, object]]
"""Path → what a client sees of it."""


def make_everything(top: Path, *, large: bool = True) -> Path:
    """Fill a directory; as root, with devices and other people's files. Returns it."""
    top.mkdir()
    root = os.fsencode(top)
    for make in (_nesting, _links, _modes, _names, _small):
        make(root)
    if large:
        _large(root)
    if os.geteuid() == 0:
        _for_root(root)
    _xattrs(root)
    _times(root)
    return top


def _nesting(root: bytes) -> None:
    for path in (b"/sw/one/1.0/lib", b"/sw/one/2.0/lib", b"/sw/two/1.0", b"/sw/three/old"):
        _file(root + path + b"/file", path)
    _file(root + b"/sw/one/.cvmfscatalog")
    _file(root + b"/sw/one/1.0/.cvmfscatalog")
    _file(root + b"/.cvmfsdirtab", b"# nested\n/sw/t*/*\n! */old\n!/sw/three/old\n/sw/two/?.0\n")
    for number in range(60):
        _file(root + b"/many/part%d/file%d" % (number % 6, number), b"%d" % number)
    deep = b"/deep" + b"/d" * 150
    _file(root + deep + b"/file", b"down here")
    _file(root + b"/deep" + b"/d" * 40 + b"/.cvmfscatalog")


def _links(root: bytes) -> None:
    _file(root + b"/links/a", b"linked")
    os.mkdir(root + b"/links/elsewhere")
    for name in (b"b", b"c", b"elsewhere/x", b"elsewhere/y"):
        os.link(root + b"/links/a", root + b"/links/" + name)
    _file(root + b"/links/p", b"linked")
    os.link(root + b"/links/p", root + b"/links/q")
    for name, target in (
        (b"relative", b"../small/text"),
        (b"dangling", b"no/such/file"),
        (b"absolute", b"/etc/passwd"),
        (b"itself", b"itself"),
        (b"bytes", b"\xff\xfe"),
        (b"long", b"x/" * 1000 + b"x"),
        (b"variant", b"$(" + VARIANT + b")/lib"),
        (b"defaulted", b"$(CVMFS_TEST_UNSET:-normal)/lib"),
    ):
        os.symlink(target, root + b"/links/" + name)


def _modes(root: bytes) -> None:
    os.mkdir(root + b"/modes")
    for mode in (0o000, 0o400, 0o644, 0o755, 0o777, 0o4755, 0o2755, 0o1644, 0o7777):
        _file(root + b"/modes/f%04o" % mode, b"%o" % mode)
        os.chmod(root + b"/modes/f%04o" % mode, mode)
        os.mkdir(root + b"/modes/d%04o" % mode)
        if os.geteuid() == 0:
            _file(root + b"/modes/d%04o/inside" % mode)
        os.chmod(root + b"/modes/d%04o" % mode, mode)
    os.mkfifo(root + b"/modes/fifo", 0o640)
    with socket.socket(socket.AF_UNIX) as unheard, suppress(OSError):  # too long a path
        unheard.bind(root + b"/modes/socket")


def _names(root: bytes) -> None:
    for name in ODD_NAMES:
        _file(root + b"/names/" + name, name)
        _file(root + b"/names/in/" + name + b"/" + name, name)
        if b"$(" not in name:  # a link to it would be a variant
            os.symlink(name, root + b"/names/to " + name[:200])


def _small(root: bytes) -> None:
    _file(root + b"/small/empty")
    _file(root + b"/small/text", b"hello\n" * 100)
    _file(root + b"/small/one", b"1")
    _file(root + b"/small/again", b"1")
    os.mkdir(root + b"/small/empty directory")


def _large(root: bytes) -> None:
    _file(root + b"/large/random", random.Random(30).randbytes(30_000_000))
    unit = random.Random(20).randbytes(1_000_000)
    _file(root + b"/large/repeated", unit * 20)


def _for_root(root: bytes) -> None:
    os.mkdir(root + b"/dev")
    os.mknod(root + b"/dev/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(root + b"/dev/disk", stat.S_IFBLK | 0o660, os.makedev(259, 300))
    for path, uid, gid in (
        (b"/small/text", 1000, 100),
        (b"/small/one", 4_000_000_000, 65534),
        (b"/small/empty directory", 12, 34),
        (b"/links/dangling", 56, 78),
        (b"/dev/disk", 0, 6),
    ):
        os.chown(root + path, uid, gid, follow_symlinks=False)


def _xattrs(root: bytes) -> None:
    for path, name, value in (
        (b"/small/text", "user.note", b"a note"),
        (b"/small/text", "user.bytes", bytes(range(255))),
        (b"/small/text", "user.empty", b""),
        (b"/small/text", "user." + "n" * 240, b"long name"),
        (b"/small/empty directory", "user.note", b"of a directory"),
        (b"/sw/one", "user.note", b"of a mount point"),
        (b"/small/one", "security.capability", CAPABILITY),
    ):
        with suppress(OSError):  # the file system, or who we are, does not allow it
            os.setxattr(root + path, name, value)


def _times(root: bytes) -> None:
    moments = (
        1_700_000_000 * _NANO + 123_456_789,
        1_600_000_000 * _NANO,
        _NANO - 1,
        0,
        -1,
        -86_400 * 3650 * _NANO + 5,
        4_000_000_000 * _NANO + 999_999_999,
    )
    for number, path in enumerate(sorted(_walk(root), reverse=True)):
        moment = moments[number % len(moments)]
        os.utime(root + path, ns=(moment, moment), follow_symlinks=False)


def _file(path: bytes, content: bytes = b"") -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(content)


# --- seeing ---------------------------------------------------------------------------------------


def seen_below(top: Path, *, is_source: bool) -> Seen:
    """Everything below a directory, as a client sees it or, of a source, as one should.

    What CernVM-FS makes of a source: links across directories are files of their own, variants in
    links are replaced, sockets are left out.
    """
    root = os.fsencode(top)
    status = {path: os.lstat(root + path) for path in _walk(root)}
    status = {path: each for path, each in status.items() if not stat.S_ISSOCK(each.st_mode)}
    groups = Counter(_group(path, each) for path, each in status.items())
    first: dict[tuple[bytes, int], bytes] = {}
    for path in sorted(status):
        first.setdefault(_group(path, status[path]), path)
    subdirectories = Counter(
        os.path.dirname(path)
        for path, each in status.items()
        if stat.S_ISDIR(each.st_mode) and path
    )
    found: Seen = {}
    for path, each in status.items():
        is_directory = stat.S_ISDIR(each.st_mode)
        links = 2 + subdirectories[path] if is_directory else groups[_group(path, each)]
        found[path] = {
            "mode": oct(each.st_mode),
            "owner": (each.st_uid, each.st_gid),
            "mtime": each.st_mtime_ns,
            "links": links if is_source or is_directory else each.st_nlink,
            "same as": first[_group(path, each)],
            "content": _content(root + path, each, is_source=is_source),
            "xattrs": _xattrs_of(root + path),
        }
    return found


def made_markers(seen: Seen) -> set[bytes]:
    """The files that a publisher puts where ``.cvmfsdirtab`` or size makes a catalog begin."""
    made = {path for path in seen if path.endswith(b"/.cvmfsautocatalog")}
    return made | {path.replace(b"/.cvmfsauto", b"/.cvmfs") for path in made}


def without_made_markers(seen: Seen) -> Seen:
    """What is left without them is the source's."""
    made = made_markers(seen)
    return {path: each for path, each in seen.items() if path not in made}


def _walk(root: bytes) -> Iterator[bytes]:
    waiting = [b""]
    while waiting:
        directory = waiting.pop()
        yield directory
        with os.scandir(root + directory) as listing:
            for entry in listing:
                path = directory + b"/" + entry.name
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(path)
                else:
                    yield path


def _group(path: bytes, status: os.stat_result) -> tuple[bytes, int]:
    """Files with one inode in one directory are one file."""
    return os.path.dirname(path), status.st_ino


def _content(path: bytes, status: os.stat_result, *, is_source: bool) -> object:
    if stat.S_ISLNK(status.st_mode):
        target = os.readlink(path)
        return _expanded(target) if is_source else target
    if stat.S_ISREG(status.st_mode):
        with open(path, "rb") as file:
            return status.st_size, hashlib.file_digest(file, "sha1").hexdigest()
    return status.st_rdev


def _expanded(target: bytes) -> bytes:
    target = target.replace(b"$(" + VARIANT + b")", CHOSEN)
    return target.replace(b"$(CVMFS_TEST_UNSET:-normal)", b"normal")


def _xattrs_of(path: bytes) -> dict[str, bytes]:
    with suppress(OSError):
        names = os.listxattr(path, follow_symlinks=False)
        return {name: os.getxattr(path, name, follow_symlinks=False) for name in names}
    return {}
