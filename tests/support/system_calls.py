"""What a program and all its processes really asked the file system for, in order.

    calls = traced([program, …])
    require_durable_before_visible(calls, root)

The kernel's view: whichever process writes, and by whatever library, nothing is overlooked. From
the order alone follows what a power cut may cost at *any* moment, so no moment has to be tried.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import pytest

from mirror.cvmfs.paths import IS_SNAPSHOTTING, LAST_SNAPSHOT, MANIFEST, STATUS

_CALLS: Final = (
    "openat,write,pwrite64,writev,pwritev,sendfile,copy_file_range,splice,truncate,ftruncate,"
    "rename,renameat,renameat2,symlink,symlinkat,link,linkat,unlink,unlinkat,syncfs,fsync,fdatasync,sync"
)
_LINE: Final = re.compile(r"(\d+) +(.*)")
_WHOLE: Final = re.compile(r"(\w+)\((.*)\) += (-?\d+)(.*)")
_RESUMED: Final = re.compile(r"<\.\.\. (\w+) resumed>(.*)\) += (-?\d+)(.*)")
_UNFINISHED: Final = re.compile(r"(\w+)\((.*) <unfinished \.\.\.>")
_TEXT: Final = re.compile(r'"([^"]*)"')
_DESCRIPTOR: Final = re.compile(r"(?:^|, )\d+<([^>]*)>")
_ALWAYS: Final = -1
_NEVER: Final = 1 << 62
_OBJECT: Final = re.compile(r"data/[0-9a-f]{2}/[^/]+")


@dataclass(frozen=True, slots=True)
class Call:
    """A system call that succeeded.

    Attributes:
        name: which.
        paths: what it was about: the names it was given, or that of its descriptor.
        flags: its arguments as text.
        began: its place in the order of all beginnings and ends.
        ended: likewise.
    """

    name: str
    paths: tuple[str, ...]
    flags: str
    began: int
    ended: int


def traced(command: Sequence[str]) -> tuple[int, list[Call]]:
    """Run it to its end; returns its exit code, and its calls in the order in which they ended."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    with TemporaryDirectory() as directory:
        log = Path(directory) / "log"
        options = ["-f", "-y", "-qq", "-s", "0", "--seccomp-bpf", "-e", f"trace={_CALLS}"]
        strace = ["strace", *options, "-o", str(log)]
        if subprocess.run([*strace, "true"], capture_output=True, check=False).returncode:
            pytest.skip("strace may not trace here")
        done = subprocess.run([*strace, *command], capture_output=True, check=False)
        return done.returncode, list(parsed(log.read_text("utf-8", "replace").splitlines()))


def parsed(lines: Iterable[str]) -> Iterator[Call]:
    """The successful calls of a log of strace."""
    begun: dict[tuple[str, str], tuple[int, str]] = {}
    for number, line in enumerate(lines):
        found = _LINE.fullmatch(line)
        if found is None:
            continue
        process, text = found.groups()
        if unfinished := _UNFINISHED.fullmatch(text):
            begun[process, unfinished[1]] = number, unfinished[2]
            continue
        if resumed := _RESUMED.fullmatch(text):
            name, rest, result, more = resumed.groups()
            began, first = begun.pop((process, name))
            arguments = first + rest
        elif whole := _WHOLE.fullmatch(text):
            name, arguments, result, more = whole.groups()
            began = number
        else:
            continue  # a signal, or the end of a process
        if int(result) >= 0:
            yield Call(name, _paths(arguments), arguments + more, began, number)


def _paths(arguments: str) -> tuple[str, ...]:
    named = [text for text in _TEXT.findall(arguments) if text]  # contents are cut to nothing
    return tuple(named) or tuple(_DESCRIPTOR.findall(arguments)[:1])


@dataclass(slots=True)
class _Disk:
    """What the calls so far have done; moments are places in the order of beginnings and ends."""

    syncs: list[tuple[int, int]] = field(default_factory=list)
    written: dict[str, int] = field(default_factory=dict)
    named: dict[str, int] = field(default_factory=dict)

    def is_durable(self, done: int, at: int) -> bool:
        """Whether a sync began after something was done, and has ended."""
        return any(done < began and ended < at for began, ended in reversed(self.syncs))

    def endangered(self, at: int) -> set[str]:
        """Names that a power cut at that moment may take back, and that somebody relies on."""
        return {
            name
            for name, moment in self.named.items()
            if _is_kept(name) and not self.is_durable(moment, at)
        }


def require_durable_before_visible(
    calls: Iterable[Call], root: Path, wanted_by: Callable[[str], Iterable[str]]
) -> set[str]:
    """Assert the law for every call, and so for every moment; returns what got its name.

    1. Bytes are on the disk before they get an object's or a root file's name.
    2. What a catalog wants has its name on the disk before the catalog gets its own.
    3. The manifest gets its name when all others have theirs on the disk.
    4. A final name is never written to.
    5. In the end everything is on the disk.

    Args:
        calls: of all processes.
        root: of the replica.
        wanted_by: the paths of all that a catalog refers to, given its path below ``root``.
    """
    disk = _Disk()
    for call in calls:
        inside = [
            path.removeprefix(f"{root}/") for path in call.paths if path.startswith(str(root))
        ]
        if call.name in ("syncfs", "sync"):
            disk.syncs.append((call.began, call.ended))
        elif call.name.startswith("rename") and inside:
            _rename(disk, call, inside, wanted_by)
        elif inside and _is_writing(call):
            path = inside[-1]
            is_link = call.name.startswith("symlink")  # whole or not there, as a name is
            assert path.startswith("data/txn/"), f"{path} is written to in place: {call}"
            disk.written[path] = _ALWAYS if is_link else call.ended
    assert not disk.endangered(_NEVER), "some names were not synced in the end"
    return set(disk.named)


def _rename(
    disk: _Disk, call: Call, inside: list[str], wanted_by: Callable[[str], Iterable[str]]
) -> None:
    source, target = inside
    written = disk.written.pop(source, None)
    assert written is not None, f"nobody was seen writing {source}, which becomes {target}"
    if _is_kept(target) and written != _ALWAYS:
        is_safe = disk.is_durable(written, call.began)
        assert is_safe, f"{target} may be empty after a power cut"
    endangered = disk.endangered(call.began)
    if _OBJECT.fullmatch(target) and target.endswith("C"):
        early = endangered.intersection(wanted_by(target))
        assert not early, f"{target} may be there after a power cut, and not {early}"
    if target == MANIFEST:
        assert not endangered, f"the manifest may be there after a power cut, not {endangered}"
    disk.named[target] = call.ended


def _is_writing(call: Call) -> bool:
    if call.name == "openat":
        return any(flag in call.flags for flag in ("O_WRONLY", "O_RDWR", "O_TRUNC"))
    return call.name not in ("unlink", "unlinkat", "fsync", "fdatasync")


def _is_kept(path: str) -> bool:
    """Whether anybody relies on it after a power cut; on what merely tells of a run, nobody."""
    return path not in {IS_SNAPSHOTTING, STATUS, LAST_SNAPSHOT}
