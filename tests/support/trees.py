"""Contents of repositories: small, and with everything that replication has to see to."""

from __future__ import annotations

from random import Random
from typing import Final

from tests.support.publisher import Repository, Tree

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


def many_files(seed: int) -> Tree:
    """So many that processes of their own are started for them."""
    return {"/many": {f"file {n}": b"%d of %d" % (n, seed) for n in range(550)}}


_PLACES: Final = ("", "/a", "/a/b", "/a/b/c", "/d", "/d/e", "/f")


def random_tree(random: Random) -> Tree:
    """Any number of catalogs and files; many contents are shared, and come back later."""
    mounts = {"", *random.sample(_PLACES, random.randint(0, len(_PLACES)))}
    tree = {mount: _random_files(random) for mount in sorted(mounts)}
    return {**tree, **many_files(random.randrange(9))} if random.random() < 0.3 else tree


def _random_files(random: Random) -> dict[str, bytes]:
    files = {f"file {n}": b"%d" % random.randrange(60) for n in range(random.randrange(12))}
    if random.random() < 0.3:
        files["large"] = Random(random.randrange(9)).randbytes(random.choice([140_000, 400_000]))
    return files


def random_revision(repository: Repository, random: Random) -> None:
    """The next revision of a history that nobody planned: tags come and go as trees do."""
    for name in [name for name in repository.tags if random.random() < 0.2]:
        del repository.tags[name]
    number = len(repository.revisions) + 1
    repository.publish(random_tree(random), tag=f"v{number}" if random.random() < 0.4 else None)
