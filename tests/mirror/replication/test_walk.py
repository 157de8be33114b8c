from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.cvmfs.catalog import NestedRef, ObjectRef
from mirror.cvmfs.content_hash import Algorithm, ContentHash, Suffix
from mirror.cvmfs.limits import Limits
from mirror.errors import Failure, FormatError, MirrorError, NotFound, StoreFull, Unavailable
from mirror.replication import walk
from mirror.replication.graph import CatalogRef, Role
from mirror.replication.walk import Breadth, Walk
from tests.support.loops import is_cancelled_at, run, turns


def catalog(name: str) -> ContentHash:
    """The hash of the catalog of that name."""
    return ContentHash.of(Algorithm.SHA1, name.encode(), Suffix.CATALOG)


def thing(name: str) -> ObjectRef:
    """The object of that name."""
    return ObjectRef(ContentHash.of(Algorithm.SHA1, name.encode()), len(name), is_packed=True)


def root(name: str, role: Role = Role.HEAD) -> CatalogRef:
    """The root of that name; mount points below are names too."""
    return CatalogRef(catalog(name), f"/{name}", role)


@dataclass
class FakeCatalog:
    """A catalog that was thought up.

    Attributes:
        nested: what is nested in it.
        things: what it refers to.
        predecessor: the root before it.
        is_small: whether it is read at once.
        is_closed: whether nothing is read any more.
    """

    nested: Sequence[NestedRef] = ()
    things: Sequence[ObjectRef] = ()
    predecessor: ContentHash | None = None
    is_small: bool = False
    is_closed: bool = False
    error: MirrorError | None = None

    def objects(self) -> Iterator[ObjectRef]:
        """As `OpenCatalog.objects`."""
        for each in self.things:
            assert not self.is_closed
            yield each
        if self.error is not None:
            raise self.error

    def close(self) -> None:
        """As `OpenCatalog.close`."""
        self.is_closed = True


@dataclass
class FakeVisitor:
    """Writes down what it is asked for.

    Attributes:
        nested: catalog → catalogs nested in it.
        things: catalog → objects in it.
        before: root → its predecessor.
        errors: what it raises when asked for a catalog or an object.
        present: catalogs and objects that need no visit.
        in_bulk: objects that come together,
        elsewhere: and those that do on another attempt,
        elsewhere_turns: which takes so many turns.
        log: ``open a``, ``deliver x``, ``complete a``, ``abandon a``, in order.
        failures: what was reported.
        opened: the catalogs, by name.
        most_delivering: the most deliveries at one time.
        pause: how many turns each step takes.
    """

    nested: Mapping[str, Sequence[str]] = field(default_factory=dict)
    things: Mapping[str, Sequence[str]] = field(default_factory=dict)
    before: dict[str, str] = field(default_factory=dict)
    errors: dict[str, MirrorError] = field(default_factory=dict)
    present: set[str] = field(default_factory=set)
    in_bulk: set[str] = field(default_factory=set)
    elsewhere: set[str] = field(default_factory=set)
    elsewhere_turns: int = 0
    log: list[str] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    opened: dict[str, FakeCatalog] = field(default_factory=dict)
    delivering: int = 0
    most_delivering: int = 0
    pause: Callable[[str], int] = len

    def __post_init__(self) -> None:
        names = {each for things in self.things.values() for each in things}
        self._names = {thing(name).hash: name for name in names}

    async def open_catalog(self, ref: CatalogRef) -> FakeCatalog | None:
        """As `Visitor.open_catalog`."""
        name = ref.mount_point.rpartition("/")[2]
        self.log.append(f"open {name}")
        await self._step(name)
        if name in self.present:
            return None
        before = self.before.get(name)
        nested = [
            NestedRef(f"{ref.mount_point}/{each}", catalog(each), None)
            for each in self.nested.get(name, ())
        ]
        things = [thing(each) for each in self.things.get(name, ())]
        found = FakeCatalog(nested, things, catalog(before) if before else None)
        found.error = self.errors.get(f"objects of {name}")
        self.opened[name] = found
        return found

    async def missing(self, refs: Sequence[ObjectRef]) -> Sequence[ObjectRef]:
        """As `Visitor.missing`."""
        await turns(1)
        present = {thing(name).hash for name in self.present}
        return [ref for ref in refs if ref.hash not in present]

    async def deliver_in_bulk(self, refs: Sequence[ObjectRef]) -> Sequence[ObjectRef]:
        """As `Visitor.deliver_in_bulk`."""
        return self._left(refs, self.in_bulk)

    async def deliver_elsewhere(self, refs: Sequence[ObjectRef]) -> Sequence[ObjectRef]:
        """As `Visitor.deliver_elsewhere`."""
        await turns(self.elsewhere_turns)
        return self._left(refs, self.elsewhere)

    def _left(self, refs: Sequence[ObjectRef], brought: set[str]) -> Sequence[ObjectRef]:
        self.log += [f"bring {self._names[ref.hash]}" for ref in refs]
        return [ref for ref in refs if self._names[ref.hash] not in brought]

    async def deliver(self, ref: ObjectRef) -> None:
        """As `Visitor.deliver`."""
        name = self._names[ref.hash]
        self.delivering += 1
        self.most_delivering = max(self.most_delivering, self.delivering)
        try:
            await self._step(name)
            self.log.append(f"deliver {name}")
        finally:
            self.delivering -= 1

    async def complete(self, ref: CatalogRef, catalog: FakeCatalog) -> None:
        """As `Visitor.complete`."""
        await self._end("complete", ref, catalog)

    async def abandon(self, ref: CatalogRef, catalog: FakeCatalog) -> None:
        """As `Visitor.abandon`."""
        await self._end("abandon", ref, catalog)

    def report(self, failure: Failure) -> None:
        """As `Visitor.report`."""
        self.failures.append(failure)

    async def _end(self, how: str, ref: CatalogRef, catalog: FakeCatalog) -> None:
        assert catalog.is_closed
        name = ref.mount_point.rpartition("/")[2]
        error = self.errors.get(f"{how} {name}")
        if error is not None:
            raise error
        self.log.append(f"{how} {name}")
        await turns(1)

    async def _step(self, name: str) -> None:
        await turns(self.pause(name))
        if name in self.errors:
            raise self.errors[name]

    # --- what happened ------------------------------------------------------------------------

    def walk(
        self, *names: str, breadth: Breadth | None = None, limits: Limits | None = None
    ) -> None:
        """Walk from these roots."""
        run(Walk(self, limits or Limits(), breadth).run(map(root, names)))

    def named(self, verb: str) -> list[str]:
        """Who was opened, delivered, completed or abandoned, in order."""
        return [line.partition(" ")[2] for line in self.log if line.startswith(f"{verb} ")]


@st.composite
def trees(draw: st.DrawFn) -> FakeVisitor:
    """Catalogs 0 to n in any tree, each with some objects, several of them shared."""
    size = draw(st.integers(1, 12))
    nested: dict[str, list[str]] = {}
    for number in range(1, size):
        nested.setdefault(str(draw(st.integers(0, number - 1))), []).append(str(number))
    objects = st.lists(st.sampled_from([f"x{n}" for n in range(15)]), max_size=8)
    things = {str(number): draw(objects) for number in range(size)}
    pauses = draw(st.lists(st.integers(0, 5), min_size=1, max_size=7))
    return FakeVisitor(nested, things, pause=lambda name: pauses[sum(map(ord, name)) % len(pauses)])


breadths = st.builds(Breadth, st.integers(1, 4), st.integers(1, 4))


@given(trees(), breadths)
def test_children_before_parents(visitor: FakeVisitor, breadth: Breadth) -> None:
    """A catalog is completed after its objects were delivered and its nested ones completed."""
    visitor.walk("0", breadth=breadth)
    assert sorted(visitor.named("complete")) == sorted(visitor.things)
    for name in visitor.things:
        waited_for = [f"complete {each}" for each in visitor.nested.get(name, ())]
        waited_for += [f"deliver {each}" for each in visitor.things[name]]
        done = visitor.log.index(f"complete {name}")
        assert all(visitor.log.index(each) < done for each in waited_for)


@given(trees(), breadths)
def test_everything_once(visitor: FakeVisitor, breadth: Breadth) -> None:
    """Every catalog is opened once and closed, and nothing fails that was not meant to."""
    visitor.walk("0", breadth=breadth)
    assert sorted(visitor.named("open")) == sorted(visitor.things)
    assert all(each.is_closed for each in visitor.opened.values())
    assert not visitor.failures


@given(trees(), breadths, st.sets(st.sampled_from([*map(str, range(12)), "x0", "x1", "x2"])))
def test_failures_doom_their_ancestors_and_nobody_else(
    visitor: FakeVisitor, breadth: Breadth, broken: set[str]
) -> None:
    """What is whole is completed, whatever fails elsewhere; what is not is abandoned."""
    visitor.errors = {name: NotFound(name) for name in broken}
    visitor.walk("0", breadth=breadth)

    def is_whole(name: str) -> bool:
        parts = {name, *visitor.things[name]}
        return not parts & broken and all(map(is_whole, visitor.nested.get(name, ())))

    assert set(visitor.named("complete")) == {n for n in visitor.opened if is_whole(n)}
    assert set(visitor.named("abandon")) == {n for n in visitor.opened if not is_whole(n)}
    assert bool(visitor.failures) == (not is_whole("0"))


@given(trees(), breadths)
def test_deliveries_are_bounded(visitor: FakeVisitor, breadth: Breadth) -> None:
    """Never more at once than the breadth says, however much waits."""
    visitor.walk("0", breadth=breadth)
    assert visitor.most_delivering <= breadth.deliveries


def test_deliveries_of_all_catalogs_share_the_bound() -> None:
    """The bound is used up, and it is one for the whole walk."""
    things = {str(number): [f"x{number}.{n}" for n in range(20)] for number in range(5)}
    visitor = FakeVisitor({"0": ["1", "2", "3", "4"]}, things)
    visitor.walk("0", breadth=Breadth(readers=5, deliveries=7))
    assert visitor.most_delivering == 7


# --- many at once ---------------------------------------------------------------------------------


def test_what_came_in_bulk_is_not_asked_for_again() -> None:
    """What did not gets another attempt, and then one of its own."""
    visitor = FakeVisitor(things={"0": ["x", "y", "z"]}, in_bulk={"x"}, elsewhere={"y"})
    visitor.walk("0")
    assert visitor.named("bring") == ["x", "y", "z", "y", "z"]
    assert visitor.named("deliver") == ["z"]
    assert visitor.named("complete") == ["0"]


def test_another_attempt_keeps_nobody_from_the_first() -> None:
    """There is room for one batch, and it is free before the first one's rest has come."""
    things = {"0": [f"x{n}" for n in range(256)] + [f"y{n}" for n in range(256)]}
    visitor = FakeVisitor(things=things, elsewhere={"x0"}, in_bulk={*things["0"]} - {"x0"})
    visitor.elsewhere_turns = 1000
    visitor.walk("0", breadth=Breadth(bulk=256))
    brought = visitor.named("bring")
    assert brought[:512] == things["0"]
    assert brought[512:] == ["x0"]


@given(trees(), breadths, st.sets(st.sampled_from([f"x{n}" for n in range(15)])))
def test_everything_is_settled_however_it_comes(
    visitor: FakeVisitor, breadth: Breadth, elsewhere: set[str]
) -> None:
    """Children before parents."""
    visitor.elsewhere = elsewhere
    visitor.in_bulk = {"x1", "x3"}
    visitor.walk("0", breadth=breadth)
    assert sorted(visitor.named("complete")) == sorted(visitor.things)
    assert not {*visitor.named("deliver")} & (elsewhere | visitor.in_bulk)


# --- shared things --------------------------------------------------------------------------------


def test_an_object_of_two_catalogs_is_delivered_once() -> None:
    """While it is on its way for one, the other waits with it."""
    visitor = FakeVisitor({"0": ["1", "2"]}, {"0": ["x"], "1": ["x"], "2": ["x", "x"]})
    visitor.pause = lambda name: 20 if name == "x" else 0
    visitor.walk("0")
    assert visitor.named("deliver") == ["x"]
    assert visitor.log.index("deliver x") < visitor.log.index("complete 1")
    assert visitor.log.index("deliver x") < visitor.log.index("complete 2")


def test_an_object_that_fails_dooms_all_who_wait_for_it() -> None:
    """Not only the catalog that claimed it first."""
    visitor = FakeVisitor({"0": ["1", "2", "3"]}, {"1": ["x"], "2": ["x"], "3": ["y"]})
    visitor.pause = lambda name: 20 if name == "x" else 0
    visitor.errors["x"] = Unavailable("503")
    visitor.walk("0")
    assert sorted(visitor.named("abandon")) == ["0", "1", "2"]
    assert visitor.named("complete") == ["3"]


def test_an_object_that_failed_is_not_tried_again() -> None:
    """It dooms whoever wants it later, and is reported for the first."""
    visitor = FakeVisitor({"0": ["1", "2"]}, {"1": ["x"], "2": ["x"], "0": ["y"]})
    visitor.errors["x"] = Unavailable("503")
    visitor.walk("0", breadth=Breadth(readers=1))
    assert [failure.error for failure in visitor.failures] == [visitor.errors["x"]]
    assert sorted(visitor.named("abandon")) == ["0", "1", "2"]
    assert visitor.named("deliver") == ["y"]


def test_not_all_that_failed_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory has a bound; beyond it an object is tried for each catalog that wants it."""
    monkeypatch.setattr(walk, "_REMEMBERED", 1)
    visitor = FakeVisitor({"0": ["1", "2"]}, {"1": ["x", "y"], "2": ["x", "y"]})
    visitor.errors = {name: Unavailable(name) for name in "xy"}
    visitor.walk("0", breadth=Breadth(readers=1, deliveries=1))
    assert sorted(str(failure.error) for failure in visitor.failures) == ["x", "y", "y"]


def test_an_object_repeated_across_batches() -> None:
    """A catalog that refers to one object in several batches waits for it once."""
    visitor = FakeVisitor(things={"0": ["x", *(f"y{n}" for n in range(600)), "x"] * 2})
    visitor.walk("0")
    assert len(visitor.log) >= 1 + 601 + 1
    assert visitor.named("complete") == ["0"]


def test_a_catalog_nested_twice_is_read_once() -> None:
    """Both parents wait for one reading."""
    visitor = FakeVisitor({"0": ["1", "2"], "1": ["3"], "2": ["3"]})
    visitor.walk("0")
    assert sorted(visitor.named("open")) == ["0", "1", "2", "3"]
    assert visitor.named("complete")[-1] == "0"


def test_what_is_present_is_not_visited() -> None:
    """Neither a catalog's tree nor an object that is there."""
    visitor = FakeVisitor({"0": ["1"], "1": ["2"]}, {"0": ["x", "y"]}, present={"1", "x"})
    visitor.walk("0")
    assert visitor.named("open") == ["0", "1"]
    assert visitor.named("deliver") == ["y"]
    assert visitor.named("complete") == ["0"]


def test_a_root_waits_for_its_predecessor() -> None:
    """The older one is completed first."""
    visitor = FakeVisitor(before={"c": "b", "b": "a"})
    names = {catalog(name): name for name in "abc"}
    opened = visitor.open_catalog

    async def by_hash(ref: CatalogRef) -> FakeCatalog | None:
        return await opened(replace(ref, mount_point=f"/{names[ref.hash]}"))

    visitor.open_catalog = by_hash  # type: ignore[method-assign]  # mount points are all the root's
    visitor.walk("c")
    assert visitor.named("open") == ["c", "b", "a"]
    assert len(visitor.named("complete")) == 3


def test_several_roots_and_walks() -> None:
    """Roots that came before are remembered as far as they failed."""
    visitor = FakeVisitor({"b": ["1"], "c": ["1"]}, errors={"1": NotFound("1")})

    async def main() -> None:
        twice = Walk(visitor, Limits())
        await twice.run([root("a"), root("b")])
        await twice.run([root("c"), root("d")])

    run(main())
    assert sorted(visitor.named("complete")) == ["a", "d"]
    assert sorted(visitor.named("abandon")) == ["b", "c"]
    assert len(visitor.failures) == 1


def test_nothing_to_walk() -> None:
    """No roots, no work."""
    visitor = FakeVisitor()
    visitor.walk()
    assert not visitor.log


# --- hostile trees --------------------------------------------------------------------------------


def test_a_cycle_ends() -> None:
    """Catalogs nested in themselves by way of others are failures, and are closed and abandoned."""
    visitor = FakeVisitor({"0": ["1"], "1": ["2"], "2": ["1"]})
    visitor.walk("0")
    assert {failure.catalog_path for failure in visitor.failures} == {"/0", "/0/1", "/0/1/2"}
    assert {type(failure.error) for failure in visitor.failures} == {FormatError}
    assert sorted(visitor.named("abandon")) == ["0", "1", "2"]
    assert not visitor.named("complete")


def test_after_a_cycle_nothing_more_is_read() -> None:
    """A walk that is stuck stays so, and says so once."""
    visitor = FakeVisitor({"0": ["0"]})

    async def main() -> None:
        twice = Walk(visitor, Limits())
        await twice.run([root("0")])
        await twice.run([root("1")])

    run(main())
    assert visitor.named("open") == ["0"]
    assert len(visitor.failures) == 1


def test_depth_is_limited() -> None:
    """A chain that goes on for ever is followed as deep as the limit allows."""
    visitor = FakeVisitor({str(number): [str(number + 1)] for number in range(100)})
    visitor.walk("0", limits=Limits(depth=5))
    assert visitor.named("open") == ["0", "1", "2", "3", "4", "5"]
    assert [failure.catalog_path for failure in visitor.failures] == ["/0/1/2/3/4/5/6"]
    assert "more than 5 deep" in str(visitor.failures[0])


@pytest.mark.parametrize("number", [0, 300])
def test_a_catalog_that_breaks_while_it_is_read(number: int) -> None:
    """What was read before counts, the catalog itself is doomed."""
    names = [f"x{n}" for n in range(number)]
    visitor = FakeVisitor({"0": ["1"]}, {"0": names})
    visitor.errors["objects of 0"] = FormatError("torn")
    visitor.walk("0")
    assert visitor.named("complete") == ["1"]
    assert visitor.named("abandon") == ["0"]
    assert len(visitor.named("deliver")) == min(number, 256)


# --- the end of everything ------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["x5", "7", "complete 8", "complete 0"])
def test_a_store_error_ends_the_walk(where: str) -> None:
    """Our own disk fails: nothing more is begun, and what is open is closed and abandoned."""
    nested = {"0": [str(number) for number in range(1, 10)]}
    things = {str(number): [f"x{number}"] for number in range(10)}
    visitor = FakeVisitor(nested, things, errors={where: StoreFull("full")})
    with pytest.raises(StoreFull):
        visitor.walk("0")
    assert all(each.is_closed for each in visitor.opened.values())
    ended = Counter(visitor.named("complete") + visitor.named("abandon"))
    assert set(ended) == set(visitor.opened)
    assert not visitor.failures


def test_cleaning_up_is_not_stopped_by_a_failure() -> None:
    """All that is open is abandoned, though the disk fails once more while that is done."""
    nested = {"0": ["1"], "1": ["2"], "2": ["3"]}
    visitor = FakeVisitor(nested, {"3": ["x"]}, errors={"x": StoreFull("full")})
    visitor.errors["abandon 1"] = StoreFull("fuller")
    with pytest.raises(StoreFull):
        visitor.walk("0")
    assert sorted(visitor.named("abandon")) == ["0", "2", "3"]
    assert all(each.is_closed for each in visitor.opened.values())


@pytest.mark.parametrize("where", ["x5", "7"])
def test_mistakes_of_ours_end_it_too(where: str) -> None:
    """They are raised as they are, and not reported as somebody else's."""
    nested = {"0": [str(number) for number in range(1, 10)]}
    visitor = FakeVisitor(nested, {"5": ["x5"]})
    visitor.errors[where] = LookupError("ours")  # type: ignore[assignment]  # not a MirrorError
    with pytest.raises(LookupError, match="ours"):
        visitor.walk("0")
    assert all(each.is_closed for each in visitor.opened.values())


@given(trees(), breadths)
def test_cancelled_at_any_moment(visitor: FakeVisitor, breadth: Breadth) -> None:
    """What is open is closed and abandoned, and no task goes on."""

    async def main() -> None:
        moment = 0
        while await is_cancelled_at(moment, Walk(visitor, Limits(), breadth).run([root("0")])):
            assert all(each.is_closed for each in visitor.opened.values())
            ended = Counter(visitor.named("complete") + visitor.named("abandon"))
            assert set(ended) >= set(visitor.opened)
            assert visitor.delivering == 0
            visitor.log.clear()
            visitor.opened.clear()
            moment += 7

    run(main())


def test_two_errors_at_once() -> None:
    """The first is told; groups of exceptions stay inside."""
    visitor = FakeVisitor(things={"0": ["x", "y"]}, pause=lambda _name: 3)
    visitor.errors = {"x": StoreFull("first"), "y": StoreFull("second")}
    with pytest.raises(StoreFull, match="first"):
        visitor.walk("0")
