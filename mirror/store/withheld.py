"""The note in a tree that keeps its manifest from clients: who serves the tree keeps to it.

    .mirror-withheld     first line: the reason, for clients, too; changed: from when on it counts
                         second line: ``boot …``, of which start of the machine that time is

Without the note, clients get the manifest. A note that counts from the beginning of time withholds
it. One that counts from a moment to come is a lease: clients get the manifest until then, and who
lent it moves the moment on, for as long as it is right. So whoever dies, or hangs, withholds by
doing nothing. The moment is one of the clock that counts from the machine's start (CLOCK_BOOTTIME),
which nobody sets and which does not stop when the machine sleeps.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from mirror.cvmfs.paths import WITHHELD
from mirror.store.file_errors import translated

_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")
_BOOT_LINE: Final = "boot "
_NEW: Final = f"{WITHHELD}.new"
_MAX_BYTES: Final = 64 * 1024
_BETWEEN_LOOKS_S: Final = 0.01
_AT_ONCE: Final = (0, 0)


def boot_clock() -> float:
    """Seconds since the machine was started."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Note:
    """The note of one tree, for those who write it; blocks."""

    def __init__(self, tree: Path) -> None:
        """Touch nothing yet."""
        self._note = tree / WITHHELD
        self._lent_for: str | None = None

    def withhold(self, reason: str, *, is_lender: bool = False) -> None:
        """Give clients no manifest from now on; a lender may lend it again, and leaves its mark.

        Raises:
            StoreError: it cannot be written.
        """
        self._lent_for = None
        with translated(self._note):
            with suppress(FileNotFoundError):
                os.utime(self._note, ns=_AT_ONCE)  # needs no room, and so even a full disk obeys
            mark = f"{_BOOT_LINE}{_this_boot()}\n" if is_lender else ""
            self._replace(f"{reason}\n{mark}", _AT_ONCE)

    def lend(self, until: float, reason: str) -> None:
        """Let clients have the manifest until then, and not for this reason afterwards.

        Args:
            until: by `boot_clock`.
            reason: why not, once that time has come.

        Raises:
            StoreError: it cannot be written.
        """
        moment = (int(until * 1e9),) * 2
        with translated(self._note):
            if self._lent_for == reason:
                with suppress(FileNotFoundError):
                    os.utime(self._note, ns=moment)
                    return
            self._replace(f"{reason}\n{_BOOT_LINE}{_this_boot()}\n", moment)
        self._lent_for = reason

    def clear(self) -> None:
        """Let clients have the manifest.

        Raises:
            StoreError: the note cannot be removed.
        """
        self._lent_for = None
        with translated(self._note):
            self._note.unlink(missing_ok=True)

    def is_lease(self) -> bool:
        """Whether it is a lender's, who has to move it on.

        Raises:
            StoreError: it cannot be read.
        """
        with translated(self._note):
            return _boot_of(str(self._note)) is not None

    def _replace(self, text: str, moment: tuple[int, int]) -> None:
        new = self._note.with_name(_NEW)
        new.parent.mkdir(parents=True, exist_ok=True)
        new.write_text(text, encoding="utf-8")
        os.utime(new, ns=moment)
        new.replace(self._note)


class NoteReader:
    """The notes of all trees below a directory, for those who serve them."""

    def __init__(self, storage: Path) -> None:
        """Read nothing yet."""
        self._storage = storage
        self._boots: dict[str, tuple[int, bool]] = {}

    def reason(self, repository: str, wait_s: float = 0.0) -> str | None:
        """Why clients may not have this manifest now; None if they may.

        Waits for that, but no longer than so many seconds after they lost it.
        """
        path = f"{self._storage}/{repository}/{WITHHELD}"
        while os.access(path, os.F_OK):
            try:
                status = os.stat(path)  # noqa: PTH116 - at each request: a Path takes twice as long
            except FileNotFoundError:
                break
            now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
            if now < status.st_mtime_ns and self._is_of_this_boot(repository, path, status.st_ino):
                break
            if not 0 <= time.time() - status.st_ctime < wait_s:
                return (_lines(path) or [""])[0]
            time.sleep(_BETWEEN_LOOKS_S)
        return None

    def _is_of_this_boot(self, repository: str, path: str, inode: int) -> bool:
        """Looked at once for each note: it is replaced, never written over."""
        known = self._boots.get(repository)
        if known is None or known[0] != inode:
            known = inode, _boot_of(path) == _this_boot()
            self._boots[repository] = known
        return known[1]


def _boot_of(path: str) -> str | None:
    lines = _lines(path)
    is_told = len(lines) > 1 and lines[1].startswith(_BOOT_LINE)
    return lines[1].removeprefix(_BOOT_LINE) if is_told else None


def _lines(path: str) -> list[str]:
    try:
        with Path(path).open("rb") as file:
            return file.read(_MAX_BYTES).decode("utf-8", "replace").splitlines()
    except FileNotFoundError:
        return []


def _this_boot() -> str:
    return _BOOT.read_text("ascii").strip()
