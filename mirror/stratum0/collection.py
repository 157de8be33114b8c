"""Garbage collection at the origin: plan, then sweep (contract B.13).

Preserved is what the head, every tag, and every root younger than the grace period reach: clients
may still hold a manifest of yesterday. All other objects are condemned. The plan can be printed;
the sweep deletes catalogs before what they refer to, roots first, so that "a catalog is there"
never means less than it says, even when it is killed half way.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass

from mirror.cvmfs.catalog import Catalog
from mirror.cvmfs.content_hash import ContentHash, Suffix
from mirror.cvmfs.manifest import Manifest
from mirror.cvmfs.paths import FAN_OUT, parse_object_path
from mirror.cvmfs.reflog import Reflog
from mirror.errors import FormatError, ObjectMissing
from mirror.replication.hash_set import HashSet
from mirror.stratum0.repository import Stratum0Repository


@dataclass(frozen=True, slots=True)
class CollectionPlan:
    """What a collection would do.

    Attributes:
        preserved_roots: root catalogs kept.
        condemned_roots: root catalogs that go.
        condemned: every object that goes, in the order in which it must.
        condemned_bytes: as stored.
    """

    preserved_roots: tuple[ContentHash, ...]
    condemned_roots: tuple[ContentHash, ...]
    condemned: tuple[ContentHash, ...]
    condemned_bytes: int


def plan_collection(
    repository: Stratum0Repository, manifest: Manifest, not_before: int
) -> CollectionPlan:
    """Find out what may go; changes nothing.

    Args:
        repository: whose.
        manifest: what is published.
        not_before: roots published since then (Unix time) are kept, tagged or not.

    Raises:
        ObjectMissing, FormatError: a preserved catalog is damaged, so nobody knows what it needs.
    """
    reflog = repository.reflog()
    wanted = [manifest.root_catalog]
    wanted += [row.root for row in repository.tags(manifest).rows]
    wanted += [name for name, when in _roots(reflog) if when >= not_before]
    present = [each for each in dict.fromkeys(wanted) if repository.store.has(each)]
    with closing(HashSet()) as preserved:
        # the root itself is taken in by the walk, which passes over what it has seen
        preserved.add(each for each in manifest.named_objects if each != manifest.root_catalog)
        for root in present:
            for _ in _reach(repository, root, preserved):
                pass
        gone = tuple(name for name, _ in _roots(reflog) if name not in set(present))
        condemned: dict[ContentHash, None] = {}
        for root in gone:
            condemned.update(dict.fromkeys(_condemned_catalogs(repository, root, preserved)))
        rest = [each for each in _stored(repository) if preserved.add([each])]
    condemned.update(dict.fromkeys(sorted(rest, key=lambda each: each.suffix != Suffix.CATALOG)))
    sizes = (repository.store.size_bytes(each) for each in condemned)
    return CollectionPlan(tuple(present), gone, tuple(condemned), sum(sizes))


def sweep(repository: Stratum0Repository, plan: CollectionPlan) -> None:
    """Delete what the plan condemns, then forget its roots."""
    for each in plan.condemned:
        repository.store.delete_now(each)
    reflog = repository.reflog()
    gone = {*plan.condemned, *plan.condemned_roots}
    repository.save_reflog(
        Reflog(reflog.fqrn, {name: when for name, when in reflog.refs.items() if name not in gone})
    )


def _roots(reflog: Reflog) -> Iterable[tuple[ContentHash, int]]:
    return [(name, when) for name, when in reflog.refs.items() if name.suffix == Suffix.CATALOG]


def _reach(
    repository: Stratum0Repository, root: ContentHash, seen: HashSet
) -> Iterator[ContentHash]:
    """The catalogs below a root that were not seen, parents first; ``seen`` takes all in."""
    waiting = [("", root)]
    while waiting:
        mount, name = waiting.pop()
        if not seen.add([name]):
            continue
        yield name
        with Catalog(repository.unpacked(name), mount, f"the catalog {name}") as catalog:
            seen.add(ref.hash for ref in catalog.objects())
            waiting += [(nested.mount_point, nested.hash) for nested in catalog.nested_catalogs()]


def _condemned_catalogs(
    repository: Stratum0Repository, root: ContentHash, preserved: HashSet
) -> Iterator[ContentHash]:
    """The catalogs that only condemned roots reach, parents before children."""
    waiting = [("", root)]
    visited: set[ContentHash] = set()
    while waiting:
        mount, name = waiting.pop()
        if name in visited or name in preserved:
            continue
        visited.add(name)
        try:
            content = repository.unpacked(name)
        except (ObjectMissing, FormatError):
            continue  # swept already, or of no use to anybody
        yield name
        with Catalog(content, mount, f"the catalog {name}") as catalog:
            waiting += [(nested.mount_point, nested.hash) for nested in catalog.nested_catalogs()]


def _stored(repository: Stratum0Repository) -> Iterator[ContentHash]:
    """Every object on the disk; what else lies there is not ours."""
    for fan in FAN_OUT:
        for name in repository.store.names(fan):
            try:
                yield parse_object_path(f"data/{fan}/{name}")
            except FormatError:
                continue
