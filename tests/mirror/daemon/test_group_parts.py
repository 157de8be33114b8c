"""What a group is made of: majorities, messages, floors on the disk, notes, HTTP."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import combinations
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from mirror.config import parse_settings
from mirror.cvmfs.fqrn import Fqrn
from mirror.cvmfs.paths import WITHHELD
from mirror.daemon.answers import in_our_words
from mirror.daemon.group.council import Council
from mirror.daemon.group.floors import FILE, FloorsFile
from mirror.daemon.group.links import HttpLink
from mirror.daemon.group.member import Permission, Promise
from mirror.daemon.group.message import (
    NOTHING,
    Message,
    Standing,
    Version,
    dump_message,
    parse_message,
)
from mirror.daemon.group.permits import NotePermits, give_back
from mirror.daemon.group.set_up import Groups, Place
from mirror.daemon.situation import Revision
from mirror.errors import ConfigError, FormatError, MirrorError, Refused, Unavailable
from mirror.group_settings import GroupSettings
from mirror.store.withheld import Note, NoteReader, boot_clock
from tests.support.loops import run

REPOSITORY = "test.example.org"
TOKEN = "0123456789abcdef" * 4

# --- majorities -----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", range(1, 8))
def test_two_majorities_have_a_member_in_common(size: int) -> None:
    """And of any two halves exactly one is a majority."""
    council = Council("abcdefgh"[:size])
    everybody = set(council.members)
    for count in range(size + 1):
        for some in combinations(council.members, count):
            others = everybody - set(some)
            assert council.is_majority(some) != council.is_majority(others)


def test_moments_of_majorities() -> None:
    """The latest that one has reached, and the earliest that one had not passed."""
    council = Council("abc")
    assert council.latest({"a": 1.0, "b": 2.0, "c": 3.0}) == 2.0
    assert council.earliest({"a": 1.0, "b": 2.0, "c": 3.0}) == 2.0
    assert council.latest({"a": 1.0, "stranger": 9.0}) is None
    assert Council("ab").latest({"a": 1.0}) == 1.0
    assert Council("ab").latest({"b": 1.0}) is None


# --- messages -------------------------------------------------------------------------------------

versions = st.builds(Version, st.integers(-1, 2**64 - 1), st.integers(0, 2**64 - 1))
messages = st.builds(
    Message,
    st.sampled_from("abc"),
    st.text(max_size=20),
    st.booleans(),
    st.dictionaries(st.sampled_from("abc"), st.floats(0, 1e9)),
    st.dictionaries(
        st.sampled_from([REPOSITORY, "other.example.org"]),
        st.builds(Standing, versions, versions, versions),
    ),
)


@given(messages)
def test_a_message_comes_as_it_was_sent(message: Message) -> None:
    """Whatever is in it."""
    assert parse_message(dump_message(message)) == message


@given(
    st.one_of(
        st.binary(max_size=200),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=7)
                | st.dictionaries(
                    st.sampled_from(
                        ["sender", "group", "is_new", "silence_s", "repositories", REPOSITORY]
                    ),
                    inner,
                )
            ),
            max_leaves=20,
        ).map(lambda value: json.dumps(value).encode()),
    )
)
def test_anything_else_is_refused(raw: bytes) -> None:
    """With our own error, and no other."""
    with suppress(FormatError):
        parse_message(raw)


def test_a_repository_cannot_be_a_path() -> None:
    """Its name becomes one elsewhere."""
    message = Message("a", "", False, {}, {"../etc": Standing()})
    with pytest.raises(FormatError):
        parse_message(dump_message(message))


# --- on the disk ----------------------------------------------------------------------------------


def test_floors_are_remembered(tmp_path: Path) -> None:
    """By members of the same group; who is new keeps nothing."""
    floors = {REPOSITORY: Version(3, 1000)}
    file = FloorsFile(tmp_path, "mark")
    assert file.load() is None
    run(file.save(Promise(floors, is_member=False)))
    assert file.load() is None
    run(file.save(Promise(floors, is_member=True)))
    assert FloorsFile(tmp_path, "mark").load() == floors
    assert FloorsFile(tmp_path, "other").load() is None
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"group": "mark", "floors": {"a b": [1, 2]}}',
        '{"group": "mark", "floors": {"a.b": [1]}}',
        '{"floors": {}}',
    ],
)
def test_damaged_floors(tmp_path: Path, text: str) -> None:
    """They are not believed."""
    (tmp_path / FILE).write_text(text)
    with pytest.raises(FormatError, match="damaged"):
        FloorsFile(tmp_path, "mark").load()


def test_permissions_are_notes(tmp_path: Path) -> None:
    """Moved on without being written anew, and taken back at once."""
    told: list[tuple[str, str | None]] = []
    permits = NotePermits(tmp_path, lambda *each: told.append(each), worth_s=1.0)
    reader, now = NoteReader(tmp_path), boot_clock()

    def show(until: float, reason: str) -> None:
        run(permits.show({REPOSITORY: Permission(until, reason)}))

    show(0.0, "just started")
    assert reader.reason(REPOSITORY) == "just started"
    show(now + 60, "silence")
    inode = (tmp_path / REPOSITORY / WITHHELD).stat().st_ino
    assert reader.reason(REPOSITORY) is None
    show(now + 120, "silence")
    assert (tmp_path / REPOSITORY / WITHHELD).stat().st_ino == inode
    assert reader.reason(REPOSITORY) is None
    show(0.0, "the group is ahead")
    assert reader.reason(REPOSITORY) == "the group is ahead"
    reasons = ["just started", None, None, "the group is ahead"]
    assert told == [(REPOSITORY, reason) for reason in reasons]


def test_leaving_a_group(tmp_path: Path) -> None:
    """What it withheld is nobody's then, and clients get everything; other reasons stay."""
    permits = NotePermits(tmp_path, lambda *_: None, worth_s=1.0)
    behind, other = "behind.example.org", "other.example.org"
    run(permits.show({REPOSITORY: Permission(5.0, "silence"), behind: Permission(0.0, "behind")}))
    Note(tmp_path / other).withhold("stale")
    give_back(tmp_path, [REPOSITORY, behind, other, "none.example.org"])
    reader = NoteReader(tmp_path)
    assert reader.reason(REPOSITORY) is None
    assert reader.reason(behind) is None
    assert reader.reason(other) == "stale"


# --- between members ------------------------------------------------------------------------------


class Ours:
    """One member as the daemon holds it, behind HTTP."""

    def __init__(self, directory: Path) -> None:
        self.said: list[str] = []
        self.token = directory / "token"
        self.token.write_text(f"# of the group\n{TOKEN}\n")
        self.token.chmod(0o600)
        self.storage = directory / "srv"
        place = Place(self.storage, directory, self.said.append, lambda *_: None, self.said.append)
        self.groups = Groups(place)
        self.url = ""

    @property
    def settings(self) -> GroupSettings:
        """Of a and b, of which this is a."""
        members = {"a": "http://127.0.0.1:1", "b": "http://127.0.0.1:2"}
        return GroupSettings(name="a", members=members, token=self.token)

    @asynccontextmanager
    async def serving(self, *, is_grouped: bool = True) -> AsyncIterator[None]:
        """On a free port."""
        app = web.Application(middlewares=[in_our_words])
        self.groups.add_routes(app)
        await self.groups.follow(self.settings if is_grouped else None, [REPOSITORY])
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield
        finally:
            await runner.cleanup()
            await self.groups.close()

    async def ask(self, message: Message, token: str = TOKEN, name: str = "a") -> Message:
        """As b does."""
        async with aiohttp.ClientSession() as session:
            return await HttpLink(session, self.url, name, token, 5.0).ask(message)

    def message(self, sender: str = "b", floor: Version = NOTHING) -> Message:
        """Of b, who is no newcomer."""
        group = self.groups.group
        assert group is not None
        standings = {REPOSITORY: Standing(floor, floor, floor)}
        return Message(sender, group.member.group, False, {"a": 0.0}, standings)


def test_an_exchange(tmp_path: Path) -> None:
    """Both learn; a higher floor is obeyed before it is answered."""
    ours = Ours(tmp_path)

    async def main() -> None:
        async with ours.serving():
            ours.groups.serves(Fqrn(REPOSITORY), Revision(3, 1000, "", ""))
            answer = await ours.ask(ours.message(floor=Version(4, 2000)))
            assert answer.sender == "a"
            standing = answer.repositories[REPOSITORY]
            assert (standing.floor, standing.served) == (Version(4, 2000), Version(3, 1000))
            assert ours.said == [REPOSITORY]  # it is looked at
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"{ours.url}/api/v1/group") as status,
            ):
                told = await status.json()
            assert told["repositories"][REPOSITORY]["floor"]["revision"] == 4
            assert told["repositories"][REPOSITORY]["is_given"] is False
            assert TOKEN not in json.dumps(told)

    run(main())


@pytest.mark.parametrize(
    ("change", "status"),
    [({"token": "f" * 64}, 401), ({"token": ""}, 401), ({"name": "b"}, 404)],
)
def test_who_may_not(tmp_path: Path, change: dict[str, str], status: int) -> None:
    """Nobody without the token, and nobody who takes us for somebody else."""
    ours = Ours(tmp_path)

    async def main() -> None:
        async with ours.serving():
            with pytest.raises(Refused, match=str(status)):
                await ours.ask(ours.message(floor=Version(9, 9)), **change)
            assert ours.groups.group is not None
            assert ours.groups.group.member.floor(REPOSITORY) == NOTHING

    run(main())


def test_strangers_and_other_tables(tmp_path: Path) -> None:
    """A stranger is refused; of a member with another table nothing is believed."""
    ours = Ours(tmp_path)

    async def main() -> None:
        async with ours.serving():
            with pytest.raises(Refused, match="403"):
                await ours.ask(ours.message("z"))
            other = Message("b", "another", False, {}, {REPOSITORY: Standing(Version(9, 9))})
            answer = await ours.ask(other)
            assert answer.repositories == {}
            group = ours.groups.group
            assert group is not None
            assert "another table of members" in group.member.troubles["b"]

    run(main())


def test_no_group(tmp_path: Path) -> None:
    """Says so; and whoever listens nowhere is no member either."""
    ours = Ours(tmp_path)

    async def main() -> None:
        async with ours.serving(is_grouped=False):
            with pytest.raises(Refused, match="404"):
                await ours.ask(Message("b", "", False))
        ours.url = "http://127.0.0.1:1"
        with pytest.raises(Unavailable):
            await ours.ask(Message("b", "", False))

    run(main())


def test_a_member_that_starts_gives_nothing_yet(tmp_path: Path) -> None:
    """Before its workers start, whatever notes from before say."""
    ours = Ours(tmp_path)

    async def main() -> None:
        async with ours.serving():
            reason = NoteReader(ours.storage).reason(REPOSITORY)
            assert reason is not None
            assert "just started" in reason

    run(main())


def test_damaged_floors_make_a_new_member(tmp_path: Path) -> None:
    """It says so, and counts for nobody until all others have answered."""
    ours = Ours(tmp_path)
    (tmp_path / FILE).write_text("{")

    async def main() -> None:
        async with ours.serving():
            assert ours.groups.group is not None
            assert ours.groups.group.member.is_new

    run(main())
    assert any("starts as a new one" in each for each in ours.said)


# --- the configuration ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ('name = "x"\nmembers = { a = "http://a", b = "http://b" }', "none of the members: a, b"),
        ('name = "a"\nmembers = { a = "http://a" }', "several members"),
        ('name = "a"\nmembers = { a = "http://a", b = "http://a" }', "same URL"),
        ('name = "a b"\nmembers = { "a b" = "http://a", b = "http://b" }', "group.name"),
        ('name = "a"\nmembers = { a = "a", b = "http://b" }', "is no URL"),
    ],
)
def test_a_table_with_a_mistake(table: str, problem: str) -> None:
    """It is named, with the fix."""
    with pytest.raises(ConfigError, match=problem):
        parse_settings(f'[group]\ntoken = "/t"\n{table}\n', "mirror.toml")


def test_a_token_file_without_a_token(tmp_path: Path) -> None:
    """A problem of the configuration."""
    ours = Ours(tmp_path)
    ours.token.write_text("# nothing\n")
    with pytest.raises(MirrorError, match="has no token"):
        run(ours.groups.follow(ours.settings, [REPOSITORY]))
