from __future__ import annotations

from dataclasses import dataclass
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.cvmfs.catalog import NestedRef
from mirror.cvmfs.content_hash import Algorithm, ContentHash, Suffix
from mirror.cvmfs.limits import MIB, Limits
from mirror.replication.graph import CatalogGraph, CatalogRef, Node, Role


def ref(number: int) -> CatalogRef:
    """A reference to the catalog of that number."""
    name = ContentHash.of(Algorithm.SHA1, str(number).encode(), Suffix.CATALOG)
    return CatalogRef(name, f"/{number}", Role.NESTED)


@dataclass(frozen=True)
class Dag:
    """Catalogs and what they wait for; later numbers hang below earlier ones.

    Attributes:
        below: number → numbers.
        roots: what is asked for from outside.
        broken: those that cannot be read.
    """

    below: dict[int, list[int]]
    roots: list[int]
    broken: set[int]

    def is_whole(self, number: int) -> bool:
        """Whether it and everything below it can be read."""
        return number not in self.broken and all(map(self.is_whole, self.below[number]))

    def reachable(self) -> set[int]:
        """Everything at or below the roots."""
        found, todo = set[int](), list(self.roots)
        while todo:
            number = todo.pop()
            if number not in found:
                found.add(number)
                todo += self.below[number]
        return found


@st.composite
def dags(draw: st.DrawFn) -> Dag:
    """Any shape: chains, diamonds, several roots, something wanted twice."""
    size = draw(st.integers(1, 12))
    below = {
        number: draw(st.lists(st.integers(number + 1, size - 1), max_size=4))
        if number + 1 < size
        else []
        for number in range(size)
    }
    numbers = st.integers(0, size - 1)
    return Dag(below, draw(st.lists(numbers, min_size=1, max_size=3)), draw(st.sets(numbers)))


class Driver:
    """Reads and settles in some order, as a walk with several readers might.

    Attributes:
        read: numbers in the order in which they were read.
        settled: number → whether it was good, in the order in which they were settled.
    """

    def __init__(self, dag: Dag, random: Random) -> None:
        self.read: list[int] = []
        self.settled: dict[int, bool] = {}
        self._dag = dag
        self._random = random
        self._graph: CatalogGraph[int] = CatalogGraph()
        self._todo: list[Node[int]] = []
        for root in dag.roots:
            self._graph.want(ref(root))

    def run(self) -> None:
        """Until nothing is open."""
        while not self._graph.is_settled:
            may_read = self._graph.has_unread
            if may_read and not (self._todo and self._random.random() < 0.5):
                self._read()
            else:
                self._settle(self._todo.pop(self._random.randrange(len(self._todo))))
        assert self._graph.next_unread() is None

    def _read(self) -> None:
        node = self._graph.next_unread()
        assert node is not None
        number = int(node.ref.mount_point[1:])
        self.read.append(number)
        if number in self._dag.broken:
            node.is_doomed = True
        else:
            for below in self._dag.below[number]:
                self._graph.want(ref(below), node)
        node.waits_for -= 1
        if node.waits_for == 0:
            self._todo.append(node)

    def _settle(self, node: Node[int]) -> None:
        number = int(node.ref.mount_point[1:])
        assert self.settled.get(number, not node.is_doomed) != node.is_doomed
        self.settled.setdefault(number, not node.is_doomed)
        self._todo += self._graph.settle(node, is_good=not node.is_doomed)


@given(dags(), st.randoms(use_true_random=False))
def test_children_settle_before_parents(dag: Dag, random: Random) -> None:
    """Whenever one is settled as good, all that it waits for were."""
    driver = Driver(dag, random)
    driver.run()
    order = list(driver.settled)
    for number in order:
        if driver.settled[number]:
            below = dag.below[number]
            assert all(driver.settled[each] for each in below)
            assert all(order.index(each) < order.index(number) for each in below)


@given(dags(), st.randoms(use_true_random=False))
def test_doom_propagates(dag: Dag, random: Random) -> None:
    """Good is what is whole down to its leaves; everything that was wanted is settled."""
    driver = Driver(dag, random)
    driver.run()
    assert driver.settled.keys() <= dag.reachable()
    assert set(dag.roots) <= driver.settled.keys()
    for number, is_good in driver.settled.items():
        assert is_good == dag.is_whole(number)


@given(dags(), st.randoms(use_true_random=False))
def test_what_failed_is_not_read_again(dag: Dag, random: Random) -> None:
    """Whoever wants it later is doomed at once."""
    driver = Driver(dag, random)
    driver.run()
    for number in driver.read:
        assert driver.read.count(number) == 1 or driver.settled[number]


def test_an_open_one_is_read_once() -> None:
    """Several that want the same catalog wait for one reading of it."""
    graph: CatalogGraph[int] = CatalogGraph()
    for number in (0, 1):
        graph.want(ref(number))
    waiting = [graph.next_unread(), graph.next_unread()]
    for node in waiting:
        assert node is not None
        graph.want(ref(2), node)
    shared = graph.next_unread()
    assert shared is not None
    assert not graph.has_unread
    assert [node.waits_for for node in waiting if node] == [2, 2]
    assert graph.settle(shared, is_good=True) == []
    assert [node.waits_for for node in waiting if node] == [1, 1]


def test_deepest_first() -> None:
    """What was wanted last is read first, so that few are open however wide the tree is."""
    graph: CatalogGraph[int] = CatalogGraph()
    most_open = 0
    graph.want(ref(0))
    while node := graph.next_unread():
        number = int(node.ref.mount_point[1:])
        if number < 1000:
            for child in range(10):
                graph.want(ref(10 * number + child + 1), node)
        node.waits_for -= 1
        ready = [node] if node.waits_for == 0 else []
        while ready:
            ready += graph.settle(ready.pop(), is_good=True)
        most_open = max(most_open, len(list(graph.open_nodes())))
    assert graph.is_settled
    assert most_open < 50


def test_waiting_in_a_circle_stays_open() -> None:
    """Nobody is ready, and the open nodes tell who waits."""
    graph: CatalogGraph[int] = CatalogGraph()
    graph.want(ref(0))
    first = graph.next_unread()
    assert first is not None
    graph.want(ref(1), first)
    second = graph.next_unread()
    assert second is not None
    graph.want(ref(0), second)
    for node in (first, second):
        node.waits_for -= 1
        assert node.waits_for == 1
    assert list(graph.open_nodes()) == [first, second]
    assert graph.next_unread() is None


def test_a_failed_root_wanted_again() -> None:
    """It stays failed, and there is nobody to doom."""
    graph: CatalogGraph[int] = CatalogGraph()
    graph.want(ref(0))
    node = graph.next_unread()
    assert node is not None
    graph.settle(node, is_good=False)
    graph.want(ref(0))
    assert graph.is_settled


# --- references ---------------------------------------------------------------------------------


def test_below() -> None:
    """A nested catalog is wanted by its parent, one deeper, with the size its parent states."""
    root = CatalogRef(ref(0).hash, "", Role.HEAD)
    below = root.below(NestedRef("/app", ref(1).hash, 100))
    assert below == CatalogRef(ref(1).hash, "/app", Role.NESTED, 100, "/", 1)
    assert below.below(NestedRef("/app/lib", ref(2).hash, None)).depth == 2


def test_before() -> None:
    """A predecessor stands where its successor stands, and is no deeper."""
    root = CatalogRef(ref(0).hash, "", Role.HEAD, 100, "the manifest")
    before = root.before(ref(1).hash)
    wanted_by = f"the root {ref(0).hash}"
    assert before == CatalogRef(ref(1).hash, "", Role.PREDECESSOR, None, wanted_by, 0)


@pytest.mark.parametrize(
    ("size_bytes", "max_bytes"),
    [(None, 10 * MIB), (0, MIB), (MIB, 3 * MIB), (100 * MIB, 10 * MIB)],
)
def test_sizes_are_believed_within_limits(size_bytes: int | None, max_bytes: int) -> None:
    """A stated size bounds what is read, with room to spare; the limit holds in any case."""
    limits = Limits(catalog_bytes=10 * MIB)
    assert CatalogRef(ref(0).hash, "", Role.HEAD, size_bytes).max_bytes(limits) == max_bytes


def test_places_are_for_people() -> None:
    """The root has a name too, and a hostile one moves no cursor."""
    assert CatalogRef(ref(0).hash, "", Role.HEAD).place == "/"
    assert CatalogRef(ref(0).hash, "/a\x1b[2J", Role.NESTED).place.isprintable()
