"""What follows from a list, and what never does."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.errors import FormatError
from mirror.following.listing import Listed, Listing, list_url, parse_listing, server_of
from mirror.following.plan import Configured, Rules, plan

SERVER = "http://stratum1.example.net"
URL = f"{SERVER}/cvmfs/info/v1/repositories.json"
NAMES = st.sampled_from(["a.example.org", "b.example.org", "c.example.net", "test-d.example.org"])
CURRENT = st.lists(
    st.builds(Configured, NAMES, st.sampled_from([None, URL, "http://other/"])),
    unique_by=lambda each: each.name,
)


def listed(*names: str) -> Listing:
    """A list of these."""
    return Listing(tuple(Listed(name, f"{SERVER}/cvmfs/{name}") for name in names))


def test_what_is_new_is_added_and_what_is_gone_is_removed() -> None:
    """Of what the patterns let in."""
    rules = Rules(URL, include=("*.example.org",), exclude=("test-*",))
    current = [Configured("a.example.org", URL), Configured("b.example.org", URL)]
    listing = listed("b.example.org", "n.example.org", "test-d.example.org", "c.example.net")
    found = plan(current, listing, rules)
    assert [each.name for each in found.add] == ["n.example.org"]
    assert found.remove == ("a.example.org",)
    assert found.keep == ("b.example.org",)


@given(CURRENT, st.lists(NAMES, unique=True))
def test_by_hand_is_for_ever(current: list[Configured], names: list[str]) -> None:
    """Only what came from this list is removed; nothing is added twice; a second time is empty."""
    found = plan(current, listed(*names), Rules(URL))
    ours = {each.name for each in current if each.followed == URL}
    assert set(found.remove) <= ours
    assert {*found.remove, *found.keep} == ours
    assert not {each.name for each in found.add} & {each.name for each in current}
    after = [each for each in current if each.name not in found.remove]
    after += [Configured(each.name, URL) for each in found.add]
    assert plan(after, listed(*names), Rules(URL)).is_empty


def test_an_empty_list_removes_nothing() -> None:
    """It is a server that lost its own."""
    found = plan([Configured("a.example.org", URL)], Listing(()), Rules(URL))
    assert (found.remove, found.keep) == ((), ("a.example.org",))
    assert "lists nothing at all" in found.problems[0]


def test_what_is_passed_through_there_cannot_be_fetched_there() -> None:
    """Unless its Stratum 0 is known."""
    listing = Listing((Listed("a.example.org", f"{SERVER}/cvmfs/a", is_pass_through=True),))
    assert "--stratum0" in plan([], listing, Rules(URL)).problems[0]
    found = plan([], listing, Rules(URL, asks_stratum0=True))
    assert (len(found.add), found.problems) == (1, ())


def test_a_real_list() -> None:
    """As cvmfs_server writes it, aliases included."""
    raw = {
        "schema": 1,
        "last_geodb_update": "never",
        "repositories": [{"name": "own.example.net", "url": "/cvmfs/own.example.net"}],
        "replicas": [
            {"name": "a.example.org", "alias": "a", "url": "/cvmfs/a"},
            {"name": "b.example.org", "url": "/cvmfs/b.example.org", "pass-through": True},
        ],
    }
    assert parse_listing(json.dumps(raw).encode(), SERVER).repositories == (
        Listed("own.example.net", f"{SERVER}/cvmfs/own.example.net"),
        Listed("a.example.org", f"{SERVER}/cvmfs/a"),
        Listed("b.example.org", f"{SERVER}/cvmfs/b.example.org", is_pass_through=True),
    )


@pytest.mark.parametrize(
    "entry",
    [
        *({}, [], "a.example.org", 3, None, {"name": 3}, {"name": "../../etc"}, {"name": "a/b"}),
        {"name": "a.example.org", "url": "http://evil/cvmfs/a.example.org"},
        {"name": "a.example.org", "url": "//evil/cvmfs/a.example.org"},
        {"name": "a.example.org", "url": "/cvmfs/../../secret"},
        {"name": "a.example.org", "url": "/cvmfs/a?b"},
        {"name": "a.example.org", "url": 3},
        {"name": "a\n.example.org"},
    ],
)
def test_an_entry_that_is_none(entry: object) -> None:
    """It is told on one line, and the others count."""
    raw = json.dumps({"replicas": [entry, {"name": "good.example.org"}]}).encode()
    listing = parse_listing(raw, SERVER)
    assert [each.name for each in listing.repositories] == ["good.example.org"]
    (problem,) = listing.problems
    assert problem.isprintable()


@pytest.mark.parametrize(
    "raw",
    [
        *(b"", b"\xff", b"[]", b"3", b"[" * 100_000, b'{"replicas": {}}', b'{"replicas": 3}'),
        json.dumps({"replicas": [{"name": f"n{each}.org"} for each in range(10_001)]}).encode(),
    ],
)
def test_what_is_no_list(raw: bytes) -> None:
    """It is not half read."""
    with pytest.raises(FormatError, match="the list of"):
        parse_listing(raw, SERVER)


@given(st.binary(max_size=200))
def test_any_bytes(raw: bytes) -> None:
    """A list, or no list."""
    try:
        parse_listing(raw, SERVER)
    except FormatError:
        return


def test_a_list_has_one_name() -> None:
    """However its operator writes it."""
    for url in (SERVER, f"{SERVER}/", URL):
        assert server_of(url) == (SERVER, "cvmfs/info/v1/repositories.json")
        assert list_url(url) == URL
