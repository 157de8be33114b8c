"""The reflog and its checksum, kept in step (contract B.9).

cvmfs_server keeps the reflog's hash in ``<spool>/reflog.chksum`` and refuses to work when the two
do not fit. They are two files and cannot change at the same instant, so a death in between leaves a
pair that does not fit; that, and a reflog that was lost, heal here: this replica is the only writer
of its reflog, and the roots it holds are on its disk (cvmfs #3123, #3206, #3514).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from mirror.cvmfs.content_hash import Algorithm, ContentHash
from mirror.cvmfs.fqrn import Fqrn
from mirror.cvmfs.limits import Limits
from mirror.cvmfs.paths import REFLOG
from mirror.cvmfs.reflog import Reflog
from mirror.errors import FormatError
from mirror.events import Emit, ReflogHealed
from mirror.store.base import ObjectStore
from mirror.store.file_errors import translated
from mirror.store.threads import in_thread

CHECKSUM_FILE: Final = "reflog.chksum"


class ReflogFile:
    """One replica's reflog on its store, and the checksum in its spool directory."""

    def __init__(self, store: ObjectStore, spool: Path, fqrn: Fqrn, emit: Emit) -> None:
        """Point at the two; nothing is read yet."""
        self._store = store
        self._checksum = spool / CHECKSUM_FILE
        self._fqrn = fqrn
        self._emit = emit

    async def load(self, limits: Limits, *, is_initial: bool) -> Reflog:
        """Read it, or begin a new one; the caller adds every root it knows to be here.

        The checksum is written anew by every `save`, so one that does not fit needs no other cure.
        """
        try:
            raw = await self._store.read_root_file(REFLOG, limits.reflog_bytes)
            if raw is not None:
                reflog = Reflog.parse(raw, self._fqrn)
                if not await in_thread(lambda: self._fits(raw)):
                    self._heal("its checksum did not fit; the reflog itself is sound and was kept")
                return reflog
            reason = "it was missing"
        except FormatError as error:
            reason = str(error)
        if not is_initial:
            self._heal(f"{reason}; begun anew with the roots known to be here")
        return Reflog.empty(self._fqrn)

    async def save(self, reflog: Reflog, algorithm: Algorithm) -> None:
        """Replace the file, then the checksum."""
        raw = reflog.serialize()
        await self._store.write_root_file(REFLOG, raw)
        checksum = ContentHash.of(algorithm, raw).text

        def write() -> None:
            temporary = self._checksum.with_suffix(".new")
            with translated(self._checksum):
                temporary.write_text(checksum)  # bare: no newline, as cvmfs_server reads it
                temporary.replace(self._checksum)

        await in_thread(write)

    def _fits(self, raw: bytes) -> bool:
        with translated(self._checksum):
            try:
                stated = ContentHash.parse(self._checksum.read_text("ascii").strip())
            except (FileNotFoundError, FormatError, UnicodeDecodeError):
                return False
        return ContentHash.of(stated.algorithm, raw) == stated

    def _heal(self, how: str) -> None:
        self._emit(ReflogHealed(self._fqrn, how))
