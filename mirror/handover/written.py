"""What is handed back, put where ``cvmfs_server`` looks for it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from mirror.cvmfs.content_hash import Algorithm, ContentHash
from mirror.cvmfs.limits import Limits
from mirror.cvmfs.manifest import Manifest
from mirror.cvmfs.paths import FAN_OUT, MANIFEST, REFLOG, TEMPORARIES
from mirror.errors import FormatError
from mirror.handover.handing_back import ConfFile, Ours
from mirror.replication.reflog_file import CHECKSUM_FILE
from mirror.store.file_errors import translated

_SCRATCH: Final = "tmp"


def hand_back(ours: Ours, files: list[ConfFile]) -> None:
    """Write the files, and what a snapshot of cvmfs_server starts from.

    Called under the replica's lock.

    Raises:
        StoreError: the disk does not take it.
        FormatError: the reflog cannot be one.
    """
    if not ours.is_pass_through:
        _complete(ours)
    for each in files:
        if not each.is_there:
            with translated(each.path):
                each.path.parent.mkdir(parents=True, exist_ok=True)
                _replace(each.path, each.text)


def _complete(ours: Ours) -> None:
    """The directories it expects, and a checksum that fits the reflog."""
    with translated(ours.tree):
        for name in (*(f"data/{each}" for each in FAN_OUT), TEMPORARIES):
            (ours.tree / name).mkdir(parents=True, exist_ok=True)
    scratch = ours.spool / _SCRATCH
    with translated(scratch):
        if not os.path.lexists(scratch):
            scratch.symlink_to(ours.tree / TEMPORARIES)
    _write_checksum(ours)


def _write_checksum(ours: Ours) -> None:
    reflog, checksum = ours.tree / REFLOG, ours.spool / CHECKSUM_FILE
    with translated(reflog):
        if not reflog.is_file() or not (ours.tree / MANIFEST).is_file():
            return  # no snapshot ever ended well
        with reflog.open("rb") as file:
            raw = file.read(Limits().reflog_bytes + 1)
        if len(raw) > Limits().reflog_bytes:
            raise FormatError(f"{reflog}: too large for a reflog")
    text = ContentHash.of(_algorithm(ours.tree), raw).text
    with translated(checksum):
        if not checksum.is_file() or checksum.read_text("ascii", "replace").strip() != text:
            _replace(checksum, text)


def _algorithm(tree: Path) -> Algorithm:
    """That of the repository."""
    with translated(tree):
        raw = (tree / MANIFEST).read_bytes()
    return Manifest.parse(raw).root_catalog.algorithm


def _replace(path: Path, text: str) -> None:
    """In one step; a link that is in the way is replaced, not followed."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, "utf-8")
    temporary.replace(path)
