"""A published tree taken apart: its tables row by row, and the directory it was published from.

An oracle must not share its subject's mistakes, so this reads SQLite plainly.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import zlib
from contextlib import closing
from pathlib import Path
from typing import Final

Tables = dict[str, list[dict[str, object]]]
"""Table → rows, each by column; in the order of their keys."""

TABLES: Final = (
    *("catalog", "chunks", "nested_catalogs", "bind_mountpoints", "statistics", "properties"),
)
_CHUNKED: Final = 64
_UNPACKED: Final = 7 << 11


def manifest_fields(root: Path) -> dict[str, str]:
    """The manifest's lines by their letter."""
    text = (root / ".cvmfspublished").read_bytes().partition(b"\n--\n")[0].decode()
    return {line[0]: line[1:] for line in text.split("\n")}


def catalogs(root: Path) -> dict[bytes, str]:
    """Mount point → hash, of all catalogs of what is published."""
    found = {b"": manifest_fields(root)["C"]}
    waiting = list(found.values())
    while waiting:
        for row in catalog_tables(root, waiting.pop())["nested_catalogs"]:
            path, name = row["path"], row["sha1"]
            assert isinstance(path, bytes)
            assert isinstance(name, bytes)
            found[path] = name.decode()
            waiting.append(name.decode())
    return found


def catalog_tables(root: Path, name: str) -> Tables:
    """Everything that one catalog holds."""
    return {table: _rows(root, name + "C", table) for table in TABLES}


def history_rows(root: Path, table: str) -> list[dict[str, object]]:
    """A table of the history."""
    return _rows(root, manifest_fields(root)["H"] + "H", table)


def _rows(root: Path, name: str, table: str) -> list[dict[str, object]]:
    with closing(sqlite3.connect(":memory:")) as database:
        database.deserialize(zlib.decompress(_stored(root, name)))
        database.text_factory = bytes
        order = "1, 2, 3" if table == "chunks" else "1, 2"
        cursor = database.execute(f"SELECT * FROM {table} ORDER BY {order}")
        columns = [column[0] for column in cursor.description]
        return [dict(zip(columns, row, strict=True)) for row in cursor]


def _stored(root: Path, name: str) -> bytes:
    return (root / "data" / name[:2] / name[2:]).read_bytes()


# --- the directory it was published from ----------------------------------------------------------


def rebuild(root: Path, target: Path) -> None:
    """Make the directory that was published: kinds, bytes, modes, owners, times.

    Which names were hard links of each other the real publisher did not always record.
    """
    below: dict[tuple[object, object], list[dict[str, object]]] = {}
    chunks: dict[tuple[object, object], list[dict[str, object]]] = {}
    for name in catalogs(root).values():
        tables = catalog_tables(root, name)
        for row in tables["chunks"]:
            chunks.setdefault((row["md5path_1"], row["md5path_2"]), []).append(row)
        for row in tables["catalog"]:
            if not _number(row, "flags") & 32:  # a nested root stands in its parent too
                below.setdefault((row["parent_1"], row["parent_2"]), []).append(row)
    waiting = [(os.fsencode(target), row) for row in below[0, 0]]
    made: list[tuple[bytes, dict[str, object]]] = []
    while waiting:
        path, row = waiting.pop()
        key = (row["md5path_1"], row["md5path_2"])
        _make(root, path, row, chunks.get(key, []))
        made.append((path, row))
        waiting += [(path + b"/" + _bytes(each, "name"), each) for each in below.get(key, [])]
    for path, row in reversed(made):  # what lies in a directory changes its mtime
        moment = _number(row, "mtime") * 1_000_000_000
        os.utime(path, ns=(moment, moment), follow_symlinks=False)


def _make(root: Path, path: bytes, row: dict[str, object], chunks: list[dict[str, object]]) -> None:
    mode = _number(row, "mode")
    if stat.S_ISLNK(mode):
        os.symlink(_bytes(row, "symlink"), path)  # noqa: PTH211 - bytes path
    elif stat.S_ISDIR(mode):
        os.mkdir(path)  # noqa: PTH102 - bytes path
    elif stat.S_ISREG(mode):
        with open(path, "wb") as file:  # noqa: PTH123 - bytes path
            file.write(_content(root, row, chunks))
    else:
        os.mknod(path, mode, _number(row, "size"))
    if os.geteuid() == 0:
        os.chown(path, _number(row, "uid"), _number(row, "gid"), follow_symlinks=False)
    if not stat.S_ISLNK(mode):
        os.chmod(path, stat.S_IMODE(mode))  # noqa: PTH101 - bytes path


def _content(root: Path, row: dict[str, object], chunks: list[dict[str, object]]) -> bytes:
    assert not _number(row, "flags") & _UNPACKED
    if not _number(row, "flags") & _CHUNKED:
        return zlib.decompress(_stored(root, _bytes(row, "hash").hex()))
    pieces = sorted(chunks, key=lambda piece: _number(piece, "offset"))
    names = [_bytes(piece, "hash").hex() + "P" for piece in pieces]
    return b"".join(zlib.decompress(_stored(root, name)) for name in names)


def _number(row: dict[str, object], column: str) -> int:
    value = row[column]
    assert isinstance(value, int)
    return value


def _bytes(row: dict[str, object], column: str) -> bytes:
    value = row[column]
    assert isinstance(value, bytes)
    return value
