"""Contents of repositories: small, and with everything that replication has to see to."""

from __future__ import annotations

from random import Random
from typing import Final

from tests.support.publisher import Tree

CHUNK_BYTES: Final = 150_000
"""As large as a chunk has to be to lie in a file on its way."""

TREE: Final[Tree] = {
    "": {"README": b"hello", "empty": b""},
    "/app": {"bin/tool": Random(1).randbytes(200_000), "copy": b"hello"},
    "/app/lib/deep": {"data": b"deep"},
    "/other": {"file": b"other", "copy": b"hello"},
}
"""Nested catalogs, chunks, an empty file, one content in three catalogs."""

NEXT_TREE: Final[Tree] = {
    "": {"README": b"hello again", "empty": b""},
    "/app": {"bin/tool": Random(2).randbytes(200_000), "copy": b"hello"},
    "/app/lib/deep": {"data": b"deeper", "more": b"more"},
    "/other": {"file": b"other", "copy": b"hello"},
    "/new": {"file": b"new", "copy": b"hello again"},
}
"""What changes: objects, chunks and catalogs, some of them new; one catalog stays."""


def numbered(number: int) -> Tree:
    """A small tree of which every revision differs."""
    return {"": {"number": b"%d" % number}, "/app": {"tool": b"tool %d" % number, "same": b"same"}}
