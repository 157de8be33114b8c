"""A tree of `tests.support.model` as a publisher would find it: a directory, or a tarball."""

from __future__ import annotations

import io
import os
import stat
import tarfile
from collections.abc import Iterable
from dataclasses import replace

from tests.support.model import Node, Tree, parent_of


def write_directory(tree: Tree, target: bytes) -> None:
    """Write it to a directory that is not there yet; attributes last, from the leaves up."""
    names: dict[int, bytes] = {}
    for path in sorted(tree):
        node, full = tree[path], target + path
        if node.inode in names:
            os.link(names[node.inode], full, follow_symlinks=False)
            continue
        _make(node, full)
        if node.inode:
            names[node.inode] = full
    for path in sorted(tree, reverse=True):
        node, full = tree[path], target + path
        if not stat.S_ISLNK(node.mode):
            os.chmod(full, stat.S_IMODE(node.mode))  # noqa: PTH101 - bytes
        time_ns = node.mtime * 1_000_000_000 + (node.mtime_ns or 0)
        os.utime(full, ns=(time_ns, time_ns), follow_symlinks=False)


def _make(node: Node, full: bytes) -> None:
    if node.is_directory:
        os.mkdir(full)  # noqa: PTH102 - bytes
    elif stat.S_ISLNK(node.mode):
        os.symlink(node.content, full)  # noqa: PTH211 - bytes
    elif stat.S_ISFIFO(node.mode):
        os.mkfifo(full)
    else:
        with open(full, "wb") as file:  # noqa: PTH123 - bytes
            file.write(node.content)


def from_directory(tree: Tree) -> dict[bytes, Node]:
    """What a directory tells of a tree: its owner is who wrote it, and times are exact."""
    return {
        path: replace(node, mtime_ns=node.mtime_ns or 0, uid=os.getuid(), gid=os.getgid())
        for path, node in tree.items()
    }


def write_tar(tree: Tree, *, mentions: Iterable[bytes]) -> bytes:
    """A tarball of the entries in ``mentions``."""
    stream = io.BytesIO()
    names: dict[int, bytes] = {}
    with tarfile.open(fileobj=stream, mode="w:gz", compresslevel=1) as tar:
        for path in sorted(mentions):
            node = tree[path]
            member = tarfile.TarInfo(_text(path))
            member.mode, member.mtime = stat.S_IMODE(node.mode), node.mtime
            member.uid, member.gid = node.uid, node.gid
            member.type = _type(node)
            content = b""
            if node.inode in names:
                member.type, member.linkname = tarfile.LNKTYPE, _text(names[node.inode])
            elif stat.S_ISLNK(node.mode):
                member.linkname = os.fsdecode(node.content)
            else:
                content = node.content
            if node.inode:
                names.setdefault(node.inode, path)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def from_tar(tree: Tree, *, mentions: Iterable[bytes]) -> dict[bytes, Node]:
    """What a tarball tells of a tree: whole seconds, and links to one first name each."""
    mentioned = set(mentions)
    told: dict[bytes, Node] = {}
    firsts: dict[int, bytes] = {}
    for path in sorted(tree):
        node = replace(tree[path], mtime_ns=None)
        if path not in mentioned:
            node = Node(stat.S_IFDIR | 0o755)
        elif node.inode:
            first = firsts.setdefault(node.inode, path)
            if parent_of(first) != parent_of(path):
                node = replace(node, inode=0)
        told[path] = node
    return told


def _text(path: bytes) -> str:
    return "." + os.fsdecode(path)


def _type(node: Node) -> bytes:
    kinds = {stat.S_IFDIR: tarfile.DIRTYPE, stat.S_IFLNK: tarfile.SYMTYPE}
    kinds[stat.S_IFIFO] = tarfile.FIFOTYPE
    return kinds.get(stat.S_IFMT(node.mode), tarfile.REGTYPE)
