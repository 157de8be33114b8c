"""What a published tree must contain, said in plain Python; and what one does contain, read back.

    after = published(before, source, base=b"/pkg", overlays=True)     # what must be there
    revision = read_revision(directory.joinpath(path).read_bytes, root) # what is there
    require_same(revision, after)

A tree is a mapping of paths to nodes, ``b""`` is its root. An oracle must not share its subject's
mistakes, so nothing here comes from ``mirror``: catalogs are read with sqlite3 and zlib.
"""

from __future__ import annotations

import hashlib
import sqlite3
import stat
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Final

UNKNOWN: Final = -1
"""The time of a directory that a publication made on its way."""
MARKER: Final = b".cvmfscatalog"
AUTOMATIC: Final = b".cvmfsautocatalog"
DIRTAB: Final = b"/.cvmfsdirtab"

_HASHES: Final = {0: ("", "sha1"), 1: ("-rmd160", "ripemd160"), 2: ("-shake128", "shake_128")}
_COUNTERS: Final = ("regular", "symlink", "dir", "special", "file_size", "chunked", "nested")

ReadObject = Callable[[str], bytes]
"""Gives the bytes of an object by its path, ``data/…``."""


@dataclass(frozen=True, slots=True)
class Node:
    """One entry.

    Attributes:
        mode: kind and permissions.
        content: a file's bytes, or where a symbolic link points.
        mtime: whole seconds.
        mtime_ns: what is behind the point; None if the catalog does not know.
        uid: owner.
        gid: group.
        inode: names of one number in one directory are one file; 0 for a file of one name.
    """

    mode: int
    content: bytes = b""
    mtime: int = 0
    mtime_ns: int | None = None
    uid: int = 0
    gid: int = 0
    inode: int = 0

    @property
    def is_directory(self) -> bool:
        """Whether others may lie below."""
        return stat.S_ISDIR(self.mode)


Tree = Mapping[bytes, Node]


@dataclass(slots=True)
class Revision:
    """A published revision, read back.

    Attributes:
        tree: its entries, without the markers that the publisher put.
        mounts: where catalogs begin, with the paths in each.
        counters: what the root catalog says, of itself and all below; such markers not counted.
    """

    tree: dict[bytes, Node] = field(default_factory=dict)
    mounts: dict[bytes, set[bytes]] = field(default_factory=dict)
    counters: Counter[str] = field(default_factory=Counter)


def parent_of(path: bytes) -> bytes:
    """The directory that holds ``path``."""
    return path.rpartition(b"/")[0]


def is_below(path: bytes, directory: bytes) -> bool:
    """Whether ``path`` lies below, not at, a directory."""
    return path.startswith(directory + b"/")


# --- what must be there ---------------------------------------------------------------------------


def without(tree: Tree, path: bytes) -> dict[bytes, Node]:
    """The tree with an entry, and all below it, removed."""
    return {each: node for each, node in tree.items() if each != path and not is_below(each, path)}


def published(
    before: Tree,
    source: Tree,
    *,
    base: bytes = b"",
    overlays: bool = False,
    made_up: Iterable[bytes] = (),
) -> dict[bytes, Node]:
    """The tree after ``source`` was published at ``base``.

    Args:
        before: what was there.
        source: its root goes to ``base``.
        base: directories on the way to it are made.
        overlays: what is there already stays, unless something of the same name comes.
        made_up: directories that the source does not mention: those there stay as they are.
    """
    after = dict(before)
    parts = base.split(b"/")
    for parent in (b"/".join(parts[:length]) for length in range(2, len(parts))):
        after.setdefault(parent, Node(stat.S_IFDIR | 0o755, mtime=UNKNOWN))
    if not overlays:
        after = without(after, base)
    for path in sorted(source):
        place, node = base + path, source[path]
        there = before.get(place)
        if path in made_up and there is not None and there.is_directory:
            node = there
        if not node.is_directory:
            after = without(after, place)
        after[place] = node
    return after


def expected_mounts(tree: Tree) -> set[bytes]:
    """Where markers and ``.cvmfsdirtab`` want catalogs to begin."""
    marked = {parent_of(path) for path in tree if path.endswith(b"/" + MARKER)}
    lines = [b""]
    if DIRTAB in tree and stat.S_ISREG(tree[DIRTAB].mode):
        lines = [line.strip() for line in tree[DIRTAB].content.split(b"\n")]
    patterns = [line for line in lines if line and not line.startswith(b"#")]
    unwanted = [line[1:].strip() for line in patterns if line.startswith(b"!")]
    wanted = [line for line in patterns if not line.startswith(b"!")]
    for path, node in tree.items():
        is_wanted = any(_fits(path, each) for each in wanted)
        if path and node.is_directory and is_wanted and not any(_fits(path, e) for e in unwanted):
            marked.add(path)
    return {b"", *marked}


def _fits(path: bytes, pattern: bytes) -> bool:
    mine, theirs = path.strip(b"/").split(b"/"), pattern.strip(b"/").split(b"/")
    return len(mine) == len(theirs) and all(map(fnmatchcase, mine, theirs))


def expected_counters(tree: Tree, mounts: Iterable[bytes]) -> Counter[str]:
    """What the statistics must sum up to; a mount point is a directory in two catalogs."""
    nested = len(set(mounts) - {b""})
    counters = Counter(nested=nested, dir=nested)
    for node in tree.values():
        _count(counters, stat.S_IFMT(node.mode), len(node.content))
    return counters


def _count(counters: Counter[str], kind: int, size_bytes: int) -> None:
    names = {stat.S_IFDIR: "dir", stat.S_IFLNK: "symlink", stat.S_IFREG: "regular"}
    counters[names.get(kind, "special")] += 1
    if kind == stat.S_IFREG:
        counters["file_size"] += size_bytes


def canonical(tree: Tree) -> dict[bytes, tuple[Node, bytes | None]]:
    """Nodes without numbers that mean nothing: a file's first name in its directory instead."""
    firsts: dict[tuple[bytes, int], list[bytes]] = {}
    for path in sorted(tree):
        firsts.setdefault((parent_of(path), tree[path].inode), []).append(path)

    def link(path: bytes, node: Node) -> bytes | None:
        names = firsts[parent_of(path), node.inode] if node.inode else [path]
        return names[0] if len(names) > 1 else None

    return {
        path: (replace(node, inode=0, mtime_ns=node.mtime_ns or 0), link(path, node))
        for path, node in tree.items()
    }


def require_same(revision: Revision, tree: Tree) -> None:
    """What was read back is what must be there: entries, contents, links, counters."""
    found, wanted = canonical(revision.tree), canonical(tree)
    assert found.keys() == wanted.keys()
    for path, (node, link) in found.items():
        due, due_link = wanted[path]
        if due.mtime == UNKNOWN:
            due = replace(due, mtime=node.mtime, mtime_ns=node.mtime_ns)
        assert (path, node, link) == (path, due, due_link)
    counted = expected_counters(tree, revision.mounts)
    counted["chunked"] = revision.counters["chunked"]  # where cuts are is another test's matter
    assert {name: revision.counters[name] for name in _COUNTERS} == {
        name: counted[name] for name in _COUNTERS
    }


# --- what is there --------------------------------------------------------------------------------


def read_revision(read: ReadObject, root: str) -> Revision:
    """Everything below a root catalog, with each object's bytes checked against its name."""
    revision = Revision()
    revision.counters = _read_catalog(read, root, b"", None, revision)
    for mount in revision.mounts.keys() - {b""}:
        assert mount + b"/" + MARKER in revision.tree, mount
    _take_out_markers(revision)
    return revision


def _take_out_markers(revision: Revision) -> None:
    """Markers that the publisher made itself: two empty files in a mount point, together."""
    for automatic in [path for path in revision.tree if path.endswith(b"/" + AUTOMATIC)]:
        mount = parent_of(automatic)
        for path in (automatic, mount + b"/" + MARKER):
            assert revision.tree.pop(path).content == b""
            revision.mounts[mount].remove(path)
            revision.counters["regular"] -= 1


def read_tags(read: ReadObject, history: str) -> dict[str, tuple[str, int]]:
    """The tags of a history: name → root catalog and revision."""
    with closing(_database(read, history, "H")) as database:
        rows = database.execute("SELECT name, hash, revision FROM tags").fetchall()
    return {name.decode(): (root.decode(), revision) for name, root, revision in rows}


def _read_catalog(
    read: ReadObject, name: str, mount: bytes, above: sqlite3.Row | None, revision: Revision
) -> Counter[str]:
    """Take in one catalog and those below it; gives its counters, own and nested ones summed."""
    paths = revision.mounts[mount] = set()
    counted: Counter[str] = Counter()
    beneath: Counter[str] = Counter()
    with closing(_database(read, name, "C")) as database:
        nested = dict(database.execute("SELECT path, sha1 FROM nested_catalogs").fetchall())
        rows, top = _by_parent(database, mount)
        _require_same_mount(top, above)
        waiting = [(mount, top)]
        while waiting:
            path, row = waiting.pop()
            paths.add(path)
            is_mount = bool(row["flags"] & 2)
            assert is_mount == (path in nested), path
            node = _node(read, database, row)
            if not is_mount:
                revision.tree[path] = node
            _count(counted, stat.S_IFMT(node.mode), row["size"])
            counted["chunked"] += bool(row["flags"] & 64)
            below = rows.pop(_md5(path), [])
            waiting += [(path + b"/" + each["name"], each) for each in below]
            if is_mount:
                beneath += _read_catalog(read, nested[path].decode(), path, row, revision)
            elif node.is_directory:
                subdirectories = sum(stat.S_ISDIR(each["mode"]) for each in below)
                assert row["hardlinks"] == 2 + subdirectories, path
        assert not rows, "entries whose parents are not there"
        statistics = dict(database.execute("SELECT counter, value FROM statistics").fetchall())
    counted["nested"] = len(nested)
    for counter in _COUNTERS:
        assert statistics[b"self_" + counter.encode()] == counted[counter], (mount, counter)
        assert statistics[b"subtree_" + counter.encode()] == beneath[counter], (mount, counter)
    return counted + beneath


def _by_parent(
    database: sqlite3.Connection, mount: bytes
) -> tuple[dict[tuple[int, int], list[sqlite3.Row]], sqlite3.Row]:
    """The entries of a catalog by parent, and its own root; linked names are of one directory."""
    groups: dict[int, list[sqlite3.Row]] = {}
    rows: dict[tuple[int, int], list[sqlite3.Row]] = {}
    top = None
    for row in database.execute("SELECT * FROM catalog"):
        if (row["md5path_1"], row["md5path_2"]) == _md5(mount):
            top = row
        else:
            rows.setdefault((row["parent_1"], row["parent_2"]), []).append(row)
        if row["hardlinks"] >> 32:
            groups.setdefault(row["hardlinks"] >> 32, []).append(row)
    assert top is not None
    for group in groups.values():
        assert {row["hardlinks"] & 0xFFFF_FFFF for row in group} == {len(group)}
        assert len({(row["parent_1"], row["parent_2"], row["hash"]) for row in group}) == 1
    return rows, top


def _require_same_mount(top: sqlite3.Row, above: sqlite3.Row | None) -> None:
    """A mount point's two rows say the same, except which of the two it is."""
    if above is None:
        assert not top["flags"] & (2 | 32)
        return
    columns = [name for name in top.keys() if name not in ("flags", "name")]  # noqa: SIM118 - rows
    assert [top[name] for name in columns] == [above[name] for name in columns]
    assert (top["flags"] ^ above["flags"]) == 2 | 32


def _node(read: ReadObject, database: sqlite3.Connection, row: sqlite3.Row) -> Node:
    mode, flags = row["mode"], row["flags"]
    content: bytes = row["symlink"] or b""
    kinds = {stat.S_IFDIR: 1, stat.S_IFLNK: 4 | 8, stat.S_IFREG: 4}
    assert flags & (1 | 4 | 8 | 16) == kinds.get(stat.S_IFMT(mode), 4 | 16)
    if stat.S_ISREG(mode):
        content = _content(read, database, row)
    if stat.S_ISREG(mode) or stat.S_ISLNK(mode):
        assert len(content) == row["size"]
    inode = 0 if stat.S_ISDIR(mode) else row["hardlinks"] >> 32
    if not inode and not stat.S_ISDIR(mode):
        assert row["hardlinks"] == 1
    return Node(mode, content, row["mtime"], row["mtimens"], row["uid"], row["gid"], inode)


def _content(read: ReadObject, database: sqlite3.Connection, row: sqlite3.Row) -> bytes:
    flags = row["flags"]
    label, algorithm = _HASHES[flags >> 8 & 7]
    is_packed = flags >> 11 & 7 == 0
    query = "SELECT offset, size, hash FROM chunks WHERE md5path_1 = ? AND md5path_2 = ?"
    key = row["md5path_1"], row["md5path_2"]
    chunks = database.execute(f"{query} ORDER BY offset", key).fetchall()
    if not flags & 64:
        assert not chunks
        return _object(read, row["hash"].hex() + label, "", algorithm, is_packed=is_packed)
    assert row["hash"] is None
    content = b""
    for offset, size_bytes, digest in chunks:
        piece = _object(read, digest.hex() + label, "P", algorithm, is_packed=is_packed)
        assert (offset, size_bytes) == (len(content), len(piece))
        content += piece
    return content


def _database(read: ReadObject, name: str, suffix: str) -> sqlite3.Connection:
    label = name[40:]
    algorithm = next(algorithm for each, algorithm in _HASHES.values() if each == label)
    connection = sqlite3.connect(":memory:")
    connection.row_factory, connection.text_factory = sqlite3.Row, bytes
    connection.deserialize(_object(read, name, suffix, algorithm, is_packed=True))
    assert connection.execute("PRAGMA integrity_check").fetchone()[0] == b"ok"
    return connection


def _object(read: ReadObject, name: str, suffix: str, algorithm: str, *, is_packed: bool) -> bytes:
    stored = read(f"data/{name[:2]}/{name[2:]}{suffix}")
    if algorithm == "shake_128":
        assert hashlib.shake_128(stored).hexdigest(20) == name[:40]
    elif algorithm in hashlib.algorithms_available:
        assert hashlib.new(algorithm, stored).hexdigest() == name[:40]
    return zlib.decompress(stored) if is_packed else stored


def _md5(path: bytes) -> tuple[int, int]:
    digest = hashlib.md5(path).digest()
    first, second = digest[:8], digest[8:]
    return (
        int.from_bytes(first, "little", signed=True),
        int.from_bytes(second, "little", signed=True),
    )
