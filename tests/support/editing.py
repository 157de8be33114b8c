"""A working tree that somebody edits: small steps that hypothesis draws, whatever the tree is.

An edit says which entry it is about by a number, counted modulo what there is, so that every edit
means something in every tree, and a failing history shrinks well.
"""

from __future__ import annotations

import stat
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count
from random import Random
from typing import Final

from hypothesis import strategies as st

from tests.support.model import DIRTAB, MARKER, Node, Tree, is_below, parent_of, without

NAMES: Final = (b"a", b"b", b"a0", b"a-", b"a!b", b"c d", b"\xc3\xa9", b"\xff", b"a*", b".x")
"""Names that sort around a slash, need escapes, or are no text."""

_DIRTABS: Final = (
    b"/a\n",
    b"# all\n/*\n!/b\n",
    b"/*/a\n/a?\n",
    b"  /a*/*  \n\n! /a/b\n/.x\n",
    b"/a\\*\n",
    b"",
)
_KINDS: Final = (
    *("file", "file", "file", "directory", "directory", "symlink", "fifo", "link", "link"),
    *("rename", "rename", "delete", "mode", "touch", "marker", "marker", "dirtab", "large"),
)
_MODES: Final = (0o644, 0o755, 0o4755, 0o600, 0o700)
_EPOCH: Final = 1_600_000_000


@dataclass(frozen=True, slots=True)
class Edit:
    """One step.

    Attributes:
        kind: one of `_KINDS`.
        first: which entry it is about.
        second: which other entry, mode, content or seed.
        name: of what is new.
    """

    kind: str
    first: int
    second: int
    name: bytes


_NUMBERS: Final = st.integers(0, 40)
EDITS: Final[st.SearchStrategy[Edit]] = st.builds(
    Edit, st.sampled_from(_KINDS), _NUMBERS, _NUMBERS, st.sampled_from(NAMES)
)


class WorkingTree:
    """A tree that changes.

    Attributes:
        tree: as it is now.
    """

    def __init__(self, clock: count[int], tree: Tree | None = None) -> None:
        """Begin with a tree, or an empty one; the clock gives times and inodes, each once."""
        self._clock = clock
        self.tree = dict(tree) if tree else {b"": self._new(stat.S_IFDIR | 0o755)}

    def edit(self, edits: Sequence[Edit]) -> None:
        """Carry them out; one that makes no sense changes nothing."""
        for edit in edits:
            getattr(self, f"_{edit.kind}")(edit)

    def renew_links(self) -> None:
        """Make files of several names others than they were, as a copy's are."""
        renewed: dict[int, Node] = {}
        for path, node in self.tree.items():
            if node.inode:
                time = next(self._clock)
                new = replace(node, inode=time, mtime=_EPOCH + time)
                self.tree[path] = renewed.setdefault(node.inode, new)

    # --- kinds of edits ---------------------------------------------------------------------------

    def _file(self, edit: Edit) -> None:
        content = b"" if edit.second == 0 else b"content %d\n" % (edit.second % 8) * 20
        self._place(self._new_path(edit), self._new(stat.S_IFREG | 0o644, content))

    def _large(self, edit: Edit) -> None:
        """One of which a part at the front changes from time to time, and the rest does not."""
        front = Random(edit.second).randbytes(edit.second * 40)
        content = front + Random(edit.first % 2).randbytes(6000)
        self._place(self._new_path(edit), self._new(stat.S_IFREG | 0o644, content))

    def _directory(self, edit: Edit) -> None:
        path = self._new_path(edit)
        if path not in self.tree:
            self._place(path, self._new(stat.S_IFDIR | 0o755))

    def _symlink(self, edit: Edit) -> None:
        node = self._new(stat.S_IFLNK | 0o777, b"../" * (edit.second % 3) + edit.name)
        self._place(self._new_path(edit), node)

    def _fifo(self, edit: Edit) -> None:
        self._place(self._new_path(edit), self._new(stat.S_IFIFO | 0o644))

    def _link(self, edit: Edit) -> None:
        """One more name for a file, in its own directory mostly."""
        files = [path for path, node in sorted(self.tree.items()) if stat.S_ISREG(node.mode)]
        if not files:
            return
        path = files[edit.first % len(files)]
        inode = self.tree[path].inode or next(self._clock)
        node = self.tree[path] = replace(self.tree[path], inode=inode)
        new = parent_of(path) + b"/" + edit.name
        self._place(self._new_path(edit) if edit.second % 4 == 0 else new, node)

    def _rename(self, edit: Edit) -> None:
        old, new = self._old_path(edit), self._other_path(edit)
        if old in (b"", DIRTAB) or new == old or is_below(new, old):
            return
        moved = {
            new + path[len(old) :]: node
            for path, node in self.tree.items()
            if path == old or is_below(path, old)
        }
        self.tree = without(self.tree, old)
        self._place(new, moved.pop(new))
        self.tree |= moved

    def _delete(self, edit: Edit) -> None:
        path = self._old_path(edit)
        if path:
            self.tree = without(self.tree, path)

    def _mode(self, edit: Edit) -> None:
        self._change(edit, mode=_MODES[edit.second % len(_MODES)])

    def _touch(self, edit: Edit) -> None:
        self._change(edit, mode=None)

    def _marker(self, edit: Edit) -> None:
        path = self._directory_at(edit.first) + b"/" + MARKER
        if path in self.tree:
            del self.tree[path]
        else:
            self.tree[path] = self._new(stat.S_IFREG | 0o644)

    def _dirtab(self, edit: Edit) -> None:
        content = _DIRTABS[edit.second % len(_DIRTABS)]
        self._place(DIRTAB, self._new(stat.S_IFREG | 0o644, content))

    # --- what they share --------------------------------------------------------------------------

    def _change(self, edit: Edit, mode: int | None) -> None:
        """Other attributes, for all names of a file."""
        path = self._old_path(edit)
        inode, time = self.tree[path].inode, next(self._clock)
        if stat.S_ISLNK(self.tree[path].mode):
            return
        for each, node in self.tree.items():
            if each == path or (inode and node.inode == inode):
                permissions = stat.S_IMODE(node.mode) if mode is None else mode
                self.tree[each] = replace(
                    node, mode=stat.S_IFMT(node.mode) | permissions, mtime=_EPOCH + time
                )

    def _place(self, path: bytes, node: Node) -> None:
        """Put something in the place of whatever was there."""
        if not node.is_directory or not self.tree.get(path, node).is_directory:
            self.tree = without(self.tree, path)
        self.tree[path] = node

    def _new(self, mode: int, content: bytes = b"") -> Node:
        time = next(self._clock)
        return Node(mode, content, _EPOCH + time, time * 1000)

    def _old_path(self, edit: Edit) -> bytes:
        paths = sorted(self.tree)
        return paths[edit.first % len(paths)]

    def _new_path(self, edit: Edit) -> bytes:
        return self._directory_at(edit.first) + b"/" + edit.name

    def _other_path(self, edit: Edit) -> bytes:
        return self._directory_at(edit.second) + b"/" + edit.name

    def _directory_at(self, number: int) -> bytes:
        directories = [path for path, node in sorted(self.tree.items()) if node.is_directory]
        return directories[number % len(directories)]
