"""The decisions of the walk over catalogs: what is next, and what may be committed now.

Catalogs form a graph: nested ones hang below their parents, a root also waits for its predecessor,
and one catalog may be wanted by several. A node is open from when it is first wanted until it is
settled. It holds a count of what it waits for: its objects, its nested catalogs, and itself while
it is being read. At zero it may be committed, children before parents. No input or output here.

Nodes are handed out deepest first, so the number of open ones stays near the depth of the tree
times the number of readers, however wide the tree is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Generic, TypeVar

from mirror.cvmfs.catalog import NestedRef
from mirror.cvmfs.content_hash import ContentHash
from mirror.cvmfs.limits import MIB, Limits
from mirror.errors import printable

X = TypeVar("X")


class Role(Enum):
    """Why a catalog is wanted."""

    HEAD = auto()
    """The root that the manifest names."""
    TAG = auto()
    """The root of a named revision."""
    PREDECESSOR = auto()
    """The root before another root."""
    NESTED = auto()
    """A catalog below another."""


@dataclass(frozen=True, slots=True)
class CatalogRef:
    """A catalog and why it is wanted.

    Attributes:
        hash: its name.
        mount_point: where it stands, ``""`` for a root.
        role: why.
        size_bytes: unpacked size if known.
        wanted_by: in words, for messages: a tag's name, a parent's mount point.
        depth: catalogs above it.
    """

    hash: ContentHash
    mount_point: str
    role: Role
    size_bytes: int | None = None
    wanted_by: str = ""
    depth: int = 0

    def below(self, nested: NestedRef) -> CatalogRef:
        """A catalog nested in this one."""
        return CatalogRef(
            nested.hash,
            nested.mount_point,
            Role.NESTED,
            nested.size_bytes,
            self.place,
            self.depth + 1,
        )

    def before(self, predecessor: ContentHash) -> CatalogRef:
        """The root that this root replaced."""
        wanted_by = f"the root {self.hash}"
        return CatalogRef(predecessor, self.mount_point, Role.PREDECESSOR, None, wanted_by)

    def max_bytes(self, limits: Limits) -> int:
        """What it may have, as stored and unpacked; the stated size gets room to spare."""
        if self.size_bytes is None:
            return limits.catalog_bytes
        return min(2 * self.size_bytes + MIB, limits.catalog_bytes)

    @property
    def place(self) -> str:
        """The mount point for people."""
        return printable(self.mount_point or "/")


@dataclass(eq=False, slots=True)
class Node(Generic[X]):
    """A catalog that is wanted and not settled yet.

    Attributes:
        ref: which.
        waits_for: how many things; at zero it is ready.
        is_doomed: something below is missing, so it must never be committed.
        waiters: nodes that wait for this one.
        content: whatever the walk keeps with it between reading and committing.
    """

    ref: CatalogRef
    waits_for: int = 1
    is_doomed: bool = False
    waiters: list[Node[X]] = field(default_factory=list)
    content: X | None = None


class CatalogGraph(Generic[X]):
    """All open nodes, and what is known of the settled ones."""

    def __init__(self) -> None:
        self._open: dict[ContentHash, Node[X]] = {}
        self._unread: list[Node[X]] = []
        self._failed: set[ContentHash] = set()

    def want(self, ref: CatalogRef, waiter: Node[X] | None = None) -> None:
        """Ask for a catalog, if need be for the sake of ``waiter``."""
        if ref.hash in self._failed:
            if waiter is not None:
                waiter.is_doomed = True
            return
        node = self._open.get(ref.hash)
        if node is None:
            node = self._open[ref.hash] = Node(ref)
            self._unread.append(node)
        if waiter is not None:
            node.waiters.append(waiter)
            waiter.waits_for += 1

    def next_unread(self) -> Node[X] | None:
        """The node to read next, or None if all that are open are being read or waited for."""
        return self._unread.pop() if self._unread else None

    def settle(self, node: Node[X], *, is_good: bool) -> list[Node[X]]:
        """Close a node, and return those that now wait for nothing any more."""
        del self._open[node.ref.hash]
        if not is_good:
            self._failed.add(node.ref.hash)
        ready = []
        for waiter in node.waiters:
            waiter.is_doomed |= not is_good
            waiter.waits_for -= 1
            if waiter.waits_for == 0:
                ready.append(waiter)
        return ready

    @property
    def has_unread(self) -> bool:
        """Whether `next_unread` has something to give."""
        return bool(self._unread)

    @property
    def is_settled(self) -> bool:
        """Whether no node is open."""
        return not self._open

    def open_nodes(self) -> Iterator[Node[X]]:
        """Nodes not settled; if nothing is under way they wait for each other: a cycle."""
        yield from list(self._open.values())
