"""Collection: exactly what nothing reaches goes, in an order that is safe."""

from __future__ import annotations

from pathlib import Path

import pytest

from mirror.cvmfs.content_hash import Algorithm
from mirror.cvmfs.paths import object_path
from mirror.errors import FormatError, StoreError
from mirror.stratum0.collection import CollectionPlan, plan_collection, sweep
from mirror.stratum0.packer import PackingOptions
from mirror.stratum0.publishing import PublicationOptions
from mirror.stratum0.retagging import retag
from tests.support.keys import Keys
from tests.support.origin import Origin
from tests.support.reachable import reachable_objects
from tests.support.recorded import catalogs

FUTURE = 2**40


def tree(number: int) -> dict[bytes, bytes | None]:
    """One nested catalog stays from revision to revision, the other does not."""
    return {
        b"/same/.cvmfscatalog": b"",
        b"/same/file": b"same",
        b"/other/.cvmfscatalog": b"",
        b"/other/%d" % number: b"other %d" % number,
    }


@pytest.fixture(params=list(Algorithm), ids=lambda each: each.name)
def origin(keys: Keys, tmp_path: Path, request: pytest.FixtureRequest) -> Origin:
    """Five revisions, each tagged."""
    origin = Origin(tmp_path, keys)
    for number in range(5):
        packing = PackingOptions(request.param)
        origin.publish(tree(number), PublicationOptions(tag=f"v{number}", packing=packing))
    return origin


def plan(origin: Origin, not_before: int = FUTURE) -> CollectionPlan:
    """What would go."""
    return plan_collection(origin.repository, origin.manifest, not_before)


def untag(origin: Origin, *names: str) -> None:
    """Remove tags."""
    retag(origin.repository, origin.keys, remove=names)


def test_the_plan_is_what_nothing_reaches(origin: Origin) -> None:
    """Not an object more, not one less, by somebody else's walk."""
    untag(origin, "v1", "v2")
    condemned = [object_path(each) for each in plan(origin).condemned]
    assert set(condemned) == origin.objects() - reachable_objects(origin.root)
    assert len(condemned) == len(set(condemned)) > 6


def test_planning_changes_nothing(origin: Origin) -> None:
    """It can be printed and forgotten."""
    untag(origin, "v1", "v2")
    before = {path: path.read_bytes() for path in origin.root.rglob("*") if path.is_file()}
    found = plan(origin)
    assert found.condemned_bytes == sum(
        (origin.root / object_path(each)).stat().st_size for each in found.condemned
    )
    after = {path: path.read_bytes() for path in origin.root.rglob("*") if path.is_file()}
    assert after == before


def test_tags_preserve(origin: Origin) -> None:
    """While they are there only histories go; without them, their revisions do."""
    assert plan(origin).condemned_roots == ()
    assert {each.suffix.value for each in plan(origin).condemned} == {"H"}
    untag(origin, "v0", "v1")
    assert len(plan(origin).condemned_roots) == 2
    untag(origin, "v2", "v3", "v4")
    assert len(plan(origin).condemned_roots) == 3  # trunk-previous stays


def test_young_revisions_are_preserved(origin: Origin) -> None:
    """Clients may hold a manifest of before: tagged or not, they are kept for a while."""
    untag(origin, "v0", "v1", "v2")
    published = min(origin.repository.reflog().refs.values())
    assert plan(origin, not_before=published).condemned_roots == ()
    assert len(plan(origin, not_before=FUTURE).condemned_roots) == 3


def test_catalogs_go_before_what_they_refer_to(origin: Origin) -> None:
    """Roots first, nested ones after them, objects last."""
    untag(origin, "v1", "v2")
    found = plan(origin)
    suffixes = ["C" if each.suffix.value == "C" else "" for each in found.condemned]
    assert suffixes == sorted(suffixes, reverse=True)
    roots = [number for number, each in enumerate(found.condemned) if each in found.condemned_roots]
    assert roots[0] == 0
    assert suffixes.count("C") > len(roots) == 2


def test_after_a_sweep_all_that_is_left_is_needed(origin: Origin) -> None:
    """Nothing more to sweep, the reflog forgets what went, and what is published is whole."""
    untag(origin, "v1", "v2")
    found = plan(origin)
    sweep(origin.repository, found)
    assert origin.objects() == reachable_objects(origin.root)
    assert plan(origin).condemned == ()
    assert not origin.repository.reflog().refs.keys() & {*found.condemned, *found.condemned_roots}
    assert origin.publish(tree(9)).revision == 6


def test_a_sweep_that_stopped_half_way_is_finished(origin: Origin) -> None:
    """The next plan finds the rest, though the roots that led to it are gone."""
    untag(origin, "v1", "v2")
    found = plan(origin)
    for each in found.condemned[: len(found.condemned) // 2]:
        origin.repository.store.delete_now(each)
    sweep(origin.repository, plan(origin))
    assert origin.objects() == reachable_objects(origin.root)


def test_leftovers_of_a_publication_that_failed_go(origin: Origin) -> None:
    """What was stored for a revision that never was."""
    store = origin.repository.store
    for name in ("ab/" + "c" * 38, "ab/" + "d" * 38 + "P", "ab/" + "e" * 38 + "C"):
        (store.root / "data" / name).write_bytes(b"orphan")
    (store.root / "data" / "ab" / "notes.txt").write_bytes(b"not ours")
    sweep(origin.repository, plan(origin))
    assert [path.name for path in (store.root / "data" / "ab").glob("[nced][oced]*")] == [
        "notes.txt"
    ]


@pytest.mark.parametrize("spoil", ["missing", "damaged"])
def test_nothing_is_planned_while_a_preserved_catalog_is_unreadable(
    origin: Origin, spoil: str
) -> None:
    """Nobody knows what it needs."""
    name = catalogs(origin.root)[b"/same"]
    path = origin.root / "data" / name[:2] / f"{name[2:]}C"
    if spoil == "missing":
        path.unlink()
    else:
        path.write_bytes(b"spoilt")
    with pytest.raises((FormatError, StoreError)):
        plan(origin)
