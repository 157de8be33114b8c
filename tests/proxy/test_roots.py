"""Root files in a proxy: how long they count, and what is given in their place."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mirror.errors import Corrupted
from mirror.serve.content import Found, Outcome
from mirror.serve.resources import Resource, resource
from mirror.serve.shelf import Refusal
from proxy.roots import Freshness, Roots
from tests.support.keys import Keys
from tests.support.publisher import Repository

FQRN = "test.example.org"
DOWN = Refusal(502, "nobody answers")


class Clock:
    """Time that passes when it is told to."""

    now_s = 1000.0

    def __call__(self) -> float:
        """Now."""
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    """At some time."""
    return Clock()


@pytest.fixture
def roots(clock: Clock) -> Roots:
    """Empty; old files are given for a hundred seconds after the time that they count."""
    return Roots(Freshness(fresh_s=61, stale_s=161, entries=3), clock)


@pytest.fixture(scope="module")
def manifests(keys: Keys) -> list[bytes]:
    """Of two revisions, the older one first."""
    repository = Repository(keys)
    found = []
    for number in range(2):
        repository.publish({"": {"number": b"%d" % number}})
        found.append(repository.files[".cvmfspublished"])
    return found


def wanted(name: str = ".cvmfspublished", fqrn: str = FQRN, origin: str = "") -> Resource:
    """A root file."""
    found = resource(f"/cvmfs/{fqrn}/{name}")
    assert found is not None
    return replace(found, origin=origin)


def given(roots: Roots, what: Resource) -> bytes | None:
    """What is at hand."""
    found = roots.at_hand(what)
    return found.content if found is not None else None


def test_fresh(roots: Roots, clock: Clock, manifests: list[bytes]) -> None:
    """For a minute it is given as it is, with its age."""
    assert roots.put(wanted(), manifests[0]).outcome is Outcome.MISS
    clock.now_s += 60
    found = roots.at_hand(wanted())
    assert found is not None
    assert found.content == manifests[0]
    assert found.head.startswith(b"Age: 60\r\n")
    clock.now_s += 1
    assert roots.at_hand(wanted()) is None


def test_revalidated(roots: Roots, clock: Clock, manifests: list[bytes]) -> None:
    """The same again counts for another minute."""
    roots.put(wanted(), manifests[0])
    clock.now_s += 70
    assert roots.put(wanted(), manifests[0]).outcome is Outcome.REVALIDATED
    clock.now_s += 60
    assert given(roots, wanted()) == manifests[0]


def test_never_back(roots: Roots, clock: Clock, manifests: list[bytes]) -> None:
    """A mirror that lags behind does not take clients back; for ten minutes, not for ever."""
    roots.put(wanted(), manifests[1])
    clock.now_s += 70
    found = roots.put(wanted(), manifests[0])
    assert (found.content, found.outcome) == (manifests[1], Outcome.STALE)
    clock.now_s += 600
    assert roots.put(wanted(), manifests[0]).content == manifests[0]


def test_each_server_by_itself(roots: Roots, manifests: list[bytes]) -> None:
    """Mirrors need not be at the same revision."""
    roots.put(wanted(origin="http://a:80"), manifests[1])
    roots.put(wanted(origin="http://b:80"), manifests[0])
    assert given(roots, wanted(origin="http://a:80")) == manifests[1]
    assert given(roots, wanted(origin="http://b:80")) == manifests[0]
    assert given(roots, wanted()) is None


def test_nobody_answers(roots: Roots, clock: Clock, manifests: list[bytes]) -> None:
    """The old one is given, within its time, and nobody is asked for some seconds."""
    roots.put(wanted(), manifests[0])
    clock.now_s += 100
    found = roots.instead_of(wanted(), DOWN)
    assert isinstance(found, Found)
    assert (found.content, found.outcome) == (manifests[0], Outcome.STALE)
    clock.now_s += 4
    assert given(roots, wanted()) == manifests[0]
    clock.now_s += 1
    assert given(roots, wanted()) is None
    clock.now_s += 100
    assert roots.instead_of(wanted(), DOWN) is DOWN


def test_gone(roots: Roots, manifests: list[bytes]) -> None:
    """What all mirrors say is not there is not given any more."""
    roots.put(wanted(), manifests[0])
    gone = Refusal(404, "Not Found")
    assert roots.instead_of(wanted(), gone) is gone
    assert roots.instead_of(wanted(), DOWN) is DOWN


def test_doubted(roots: Roots, manifests: list[bytes]) -> None:
    """Who doubts it makes us ask; while nobody answers it is still better than nothing."""
    roots.put(wanted(), manifests[0])
    roots.doubt(wanted())
    assert roots.at_hand(wanted()) is None
    assert isinstance(roots.instead_of(wanted(), DOWN), Found)


def test_news(roots: Roots, manifests: list[bytes]) -> None:
    """News of a repository makes us ask for its files, and for those of no other."""
    roots.put(wanted(), manifests[0])
    roots.put(wanted(".cvmfsreflog"), b"reflog")
    roots.put(wanted(".cvmfsreflog", "other.example.org"), b"other")
    roots.expire(FQRN)
    assert given(roots, wanted()) is None
    assert given(roots, wanted(".cvmfsreflog", "other.example.org")) == b"other"


def test_bounded(roots: Roots) -> None:
    """Only so many are kept."""
    for number in range(5):
        roots.put(wanted(".cvmfsreflog", f"r{number}.example.org"), b"x")
    here = [given(roots, wanted(".cvmfsreflog", f"r{n}.example.org")) for n in range(5)]
    assert here == [None, None, b"x", b"x", b"x"]


@pytest.mark.parametrize("name", [".cvmfspublished", ".cvmfswhitelist", ".cvmfs_status.json"])
def test_an_error_page(roots: Roots, name: str) -> None:
    """Pages that come under the name of a root file are told apart."""
    with pytest.raises(Corrupted):
        roots.put(wanted(name), b"<html>please log in</html>")
    assert roots.at_hand(wanted(name)) is None


def test_of_another_repository(roots: Roots, manifests: list[bytes]) -> None:
    """A manifest that says that it is another's is none of this one."""
    with pytest.raises(Corrupted):
        roots.put(wanted(fqrn="other.example.org"), manifests[0])
