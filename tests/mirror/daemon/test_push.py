"""A push makes the daemon look now, and nobody without a token can make it."""

from __future__ import annotations

import asyncio
from io import BytesIO
from pathlib import Path

import pytest

from mirror.cvmfs.fqrn import Fqrn
from mirror.cvmfs.paths import MANIFEST
from mirror.daemon.notifications import MAX_MESSAGE_BYTES, make_notification
from mirror.daemon.push import PushLimits
from mirror.daemon.situation import Flip
from mirror.daemon.tokens import Buckets, Tokens
from mirror.errors import ConfigError, Unavailable
from tests.support.api import NARROW, TOKEN, Client, Daemon, ask, reason, tokens
from tests.support.clock import NOW
from tests.support.keys import Keys
from tests.support.publisher import Repository
from tests.support.situations import FQRN, failing, revision, situation

PATH = "/api/v1/repositories/test.example.org/snapshot"
PUBLISH = "/api/v1/notifications/publish"


def bearing(token: str = TOKEN) -> dict[str, str]:
    """Headers."""
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture(name="daemon")
def fixture_daemon(tmp_path: Path) -> Daemon:
    """One with tokens."""
    daemon = Daemon()
    daemon.push.tokens = tokens(tmp_path)
    return daemon


@pytest.mark.parametrize(
    ("headers", "path", "status", "words"),
    [
        ({}, PATH, 401, "a token is needed"),
        ({"Authorization": ""}, PATH, 401, "a token is needed"),
        ({"Authorization": "Bearer"}, PATH, 401, "a token is needed"),
        ({"Authorization": "Bearer   "}, PATH, 401, "a token is needed"),
        ({"Authorization": f"Basic {TOKEN}"}, PATH, 401, "a token is needed"),
        (bearing("x" * 40), PATH, 401, "nobody here has this token"),
        (bearing(TOKEN[:-1]), PATH, 401, "nobody here has this token"),
        (bearing(f"{TOKEN}x"), PATH, 401, "nobody here has this token"),
        (bearing("\u00fc" * 40), PATH, 401, "nobody here has this token"),
        (bearing("#"), PATH, 401, "nobody here has this token"),
        (bearing(NARROW), PATH, 403, "not for test.example.org"),
        (bearing(), PATH.replace("test", "nobodys"), 404, "not replicated here"),
        (bearing(), PATH.replace("test.example.org", "test..org"), 404, "no repository name"),
        (bearing(), f"{PATH}?wait=long", 400, "no time to wait"),
        (bearing(), f"{PATH}?wait=-1", 400, "no time to wait"),
        (bearing(), f"{PATH}?wait=nan", 400, "no time to wait"),
        (bearing(), f"{PATH}?wait=1e9", 400, "no time to wait"),
    ],
)
def test_refused(
    daemon: Daemon, headers: dict[str, str], path: str, status: int, words: str
) -> None:
    """With a reason and a way out; nothing is looked at."""

    async def test(client: Client) -> None:
        response = await client.post(path, headers=headers)
        got, error, to_do = await reason(response)
        assert (got, words in error, bool(to_do)) == (status, True, True), error
        assert ("WWW-Authenticate" in response.headers) == (status == 401)
        assert daemon.looks == []

    ask(daemon, test)


def test_nobody_has_a_token() -> None:
    """Then pushing is off, and not open to all."""

    async def test(client: Client) -> None:
        got, error, _ = await reason(await client.post(PATH, headers=bearing()))
        assert (got, error) == (403, "nobody may push here")

    ask(Daemon(), test)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_queued(daemon: Daemon, scheme: str) -> None:
    """It is looked at, and the publisher goes on."""

    async def test(client: Client) -> None:
        response = await client.post(PATH, headers={"Authorization": f"{scheme} {TOKEN}"})
        assert response.status == 202
        document = {"queued": True, "repository": "test.example.org", "phase": "idle"}
        assert await response.json() == document
        assert daemon.looks == [FQRN]

    ask(daemon, test)


def test_wildcards_of_a_token(daemon: Daemon) -> None:
    """A token with patterns is for these."""
    name = Fqrn("sw.elsewhere.org")
    daemon.situations[name] = situation(name)

    async def test(client: Client) -> None:
        path = PATH.replace("test.example.org", name.name)
        assert (await client.post(path, headers=bearing(NARROW))).status == 202
        assert daemon.looks == [name]

    ask(daemon, test)


async def flips(daemon: Daemon) -> None:
    """A look that finds news."""
    daemon.situations[FQRN].flip(Flip(revision(8), NOW, 1.0, 1, 1))


def test_waiting_for_the_outcome(daemon: Daemon) -> None:
    """Whoever waits is told what clients get now."""

    async def look(_fqrn: Fqrn) -> None:
        await flips(daemon)

    daemon.look = look

    async def test(client: Client) -> None:
        response = await client.post(f"{PATH}?wait=60", headers=bearing())
        assert response.status == 200
        document = await response.json()
        told = [document[name] for name in ("queued", "outcome", "flipped", "revision", "error")]
        assert told == [False, "done", True, 8, None]

    ask(daemon, test)


def test_waiting_for_a_failure(daemon: Daemon) -> None:
    """Likewise, and why."""

    async def look(_fqrn: Fqrn) -> None:
        failing(daemon.situations[FQRN], Unavailable("nobody answers"))

    daemon.look = look

    async def test(client: Client) -> None:
        document = await (await client.post(f"{PATH}?wait=60", headers=bearing())).json()
        told = [document[name] for name in ("outcome", "flipped", "revision", "error")]
        assert told == ["failed", False, 7, "nobody answers"]
        assert document["what_to_do"]

    ask(daemon, test)


def test_waiting_in_vain(daemon: Daemon) -> None:
    """It goes on all the same."""
    end = asyncio.Event()

    async def look(_fqrn: Fqrn) -> None:
        await end.wait()
        await flips(daemon)

    daemon.look = look

    async def test(client: Client) -> None:
        response = await client.post(f"{PATH}?wait=0.01", headers=bearing())
        assert response.status == 202
        end.set()
        for _ in range(3):
            await asyncio.sleep(0)
        served = daemon.situations[FQRN].served
        assert served is not None
        assert served.number == 8

    ask(daemon, test)


def test_too_often(daemon: Daemon) -> None:
    """Three at once for a repository, then one each five seconds; the answer says when."""

    async def test(client: Client) -> None:
        statuses = [(await client.post(PATH, headers=bearing())).status for _ in range(3)]
        assert statuses == [202, 202, 202]
        response = await client.post(PATH, headers=bearing())
        assert (await reason(response))[0] == 429
        assert response.headers["Retry-After"] == "5"
        daemon.seconds += 4.5
        again = await client.post(PATH, headers=bearing())
        assert (again.status, again.headers["Retry-After"]) == (429, "1")
        daemon.seconds += 0.5
        assert (await client.post(PATH, headers=bearing())).status == 202
        assert len(daemon.looks) == 4

    ask(daemon, test)


def test_one_token_for_many_repositories(daemon: Daemon) -> None:
    """Has a limit of its own."""
    names = [Fqrn(f"r{number}.example.org") for number in range(5)]
    daemon.situations |= {name: situation(name) for name in names}

    async def test(client: Client) -> None:
        statuses = [
            (await client.post(f"/api/v1/repositories/{name}/snapshot", headers=bearing())).status
            for name in names
        ]
        assert statuses == [202, 202, 202, 202, 429]

    ask(daemon, test)


def test_buckets_do_not_overflow() -> None:
    """A long pause gives no more than all at once."""
    now = [0.0]
    buckets = Buckets(2, 1.0, lambda: now[0])
    now[0] = 1e9
    taken = 0
    while not buckets.wait_s("key"):
        buckets.take("key")
        taken += 1
    assert (taken, buckets.wait_s("key"), buckets.wait_s("another")) == (2, 1.0, 0.0)


def test_the_usual_limits() -> None:
    """Ten at once for a repository, then one a second."""
    limits = PushLimits.usual(lambda: 0.0)
    for _ in range(10):
        assert not limits.of_repository.wait_s(FQRN)
        limits.of_repository.take(FQRN)
    assert limits.of_repository.wait_s(FQRN) == 1.0


# --- a gateway's message --------------------------------------------------------------------------


@pytest.fixture(name="message")
def fixture_message(keys: Keys) -> bytes:
    """About revision 1."""
    repository = Repository(keys)
    repository.publish({"": {"file": b"content"}})
    return make_notification(FQRN, repository.files[MANIFEST], NOW).encode()


def test_published(daemon: Daemon, message: bytes) -> None:
    """A gateway's publisher is answered as by a gateway; what it says is not believed."""

    async def test(client: Client) -> None:
        response = await client.post(PUBLISH, data=message, headers=bearing())
        assert (response.status, await response.json()) == (200, {"status": "ok"})
        assert daemon.looks == [FQRN]
        assert daemon.situations[FQRN].upstream == daemon.situations[FQRN].served

    ask(daemon, test)


@pytest.mark.parametrize(
    ("body", "token", "status"),
    [
        (None, None, 401),
        (None, NARROW, 403),
        (b"", TOKEN, 400),
        (b'{"type": "activity"}', TOKEN, 400),
        (b" " * (MAX_MESSAGE_BYTES + 1), TOKEN, 413),
    ],
)
def test_not_published(
    daemon: Daemon, message: bytes, body: bytes | None, token: str | None, status: int
) -> None:
    """Nothing is looked at."""

    async def test(client: Client) -> None:
        headers = bearing(token) if token is not None else {}
        data = BytesIO(message if body is None else body)
        assert (await reason(await client.post(PUBLISH, data=data, headers=headers)))[0] == status
        assert daemon.looks == []

    ask(daemon, test)


def test_published_for_somebody_else(daemon: Daemon, message: bytes) -> None:
    """About a repository that is not ours."""
    del daemon.situations[FQRN]

    async def test(client: Client) -> None:
        response = await client.post(PUBLISH, data=message, headers=bearing())
        assert (await reason(response))[0] == 404

    ask(daemon, test)


# --- files of tokens ------------------------------------------------------------------------------


def test_tokens_of_several_files(tmp_path: Path) -> None:
    """Each bearer is known by file and line, and nothing of the token is kept in plain text."""
    for name in ("one", "two"):
        (tmp_path / name).write_text(f"\n{name * 20}\n")
        (tmp_path / name).chmod(0o640)
    known = Tokens.read([tmp_path / "one", tmp_path / "two"])
    assert [bearer.name for bearer in known.bearers] == ["one:2", "two:2"]
    assert "twotwo" not in repr(known)
    found = known.bearer("two" * 20)
    assert found is not None
    assert found.may_push(FQRN)
    assert known.bearer("") is None


def test_everything_wrong_with_tokens(tmp_path: Path) -> None:
    """Is told at once, with the fix."""
    open_to_all, short = tmp_path / "open", tmp_path / "short"
    open_to_all.write_text("x" * 32)
    open_to_all.chmod(0o644)
    short.write_text(f"{'x' * 31}\n")
    short.chmod(0o600)
    with pytest.raises(ConfigError) as caught:
        Tokens.read([open_to_all, short, tmp_path / "missing"])
    everybody, too_short, missing = caught.value.problems
    assert f"chmod o-rwx {open_to_all}" in everybody
    assert "31 characters" in too_short
    assert "x" * 31 not in too_short
    assert "missing" in missing
