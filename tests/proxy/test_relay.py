"""The Geo API behind a proxy: asked once for a site, passed on as it is, briefly wrong at most."""

from __future__ import annotations

import asyncio

import pytest

from proxy.replies import Replies, Reply
from tests.support.behind import ask, noting_mirror, proxy_before
from tests.support.loops import run

GEO = "/cvmfs/test.example.org/api/v1.0/geo/site/a.example.org,b.example.org"
ORDER = (200, "2,1\n", {"Cache-Control": "max-age=300", "Content-Type": "text/plain"})


@pytest.mark.parametrize("form", ["", "MIRROR"])
def test_an_answer_is_asked_for_once(form: str) -> None:
    """In both forms; the mirror learns whom it is for, and keeps what was said before."""

    async def asked() -> None:
        async with noting_mirror() as mirror, proxy_before(mirror.origin) as port:
            mirror.answers[GEO] = ORDER
            target = form.replace("MIRROR", mirror.origin) + GEO
            first = await ask(port, target, more="X-Forwarded-For: 192.0.2.7\r\n")
            again = await ask(port, target)
            assert first.status == again.status == 200
            assert first.body == again.body == "2,1\n"
            assert first.headers["Cache-Control"] == "max-age=300"
            assert mirror.asked == [(GEO, "192.0.2.7, 127.0.0.1")]

    run(asked())


def test_those_who_ask_at_once_share_an_answer() -> None:
    """A thousand nodes that start together are one request."""

    async def asked() -> None:
        async with noting_mirror() as mirror, proxy_before(mirror.origin) as port:
            mirror.answers[GEO] = ORDER
            answers = await asyncio.gather(*(ask(port, GEO) for _ in range(50)))
            assert {each.body for each in answers} == {"2,1\n"}
            assert len(mirror.asked) == 1

    run(asked())


@pytest.mark.parametrize("status", [400, 404])
def test_refusals_of_the_mirror_pass(status: int) -> None:
    """As they are: they are its answers, and no failure of the proxy."""

    async def asked() -> None:
        async with noting_mirror() as mirror, proxy_before(mirror.origin) as port:
            mirror.answers[GEO] = (status, "no such caching string\n", {})
            answer = await ask(port, GEO)
            assert (answer.status, answer.body) == (status, "no such caching string\n")
            assert "Proxy-Status" not in answer.headers

    run(asked())


def test_the_next_mirror_is_asked() -> None:
    """Where one is dead or broken; the last one's failure passes."""

    async def asked() -> None:
        async with noting_mirror() as one, noting_mirror() as two:
            async with proxy_before("http://127.0.0.1:9", one.origin, two.origin) as port:
                one.answers[GEO] = (503, "later", {})
                two.answers[GEO] = ORDER
                assert (await ask(port, GEO)).body == "2,1\n"
            two.answers[GEO] = (500, "broken", {})
            async with proxy_before(one.origin, two.origin) as port:
                answer = await ask(port, GEO)
                assert (answer.status, answer.body) == (500, "broken")
                assert "Proxy-Status" not in answer.headers

    run(asked())


def test_our_own_failures_say_so() -> None:
    """So that clients go to another proxy, and not to another mirror (C.2)."""

    async def asked() -> None:
        async with proxy_before("http://127.0.0.1:9") as port:
            answer = await ask(port, GEO)
            assert answer.status == 502
            assert answer.headers["Proxy-Status"] == "cvmfs-proxy; error=destination_unavailable"
            assert answer.headers["Cache-Control"] == "no-store"

    run(asked())


def test_lists_of_repositories_come_through() -> None:
    """They are root files of the mirror."""

    async def asked() -> None:
        async with noting_mirror() as mirror, proxy_before(mirror.origin) as port:
            mirror.answers["/cvmfs/info/v1/repositories.json"] = (200, '{"replicas": []}', {})
            for _ in range(2):
                answer = await ask(port, "/cvmfs/info/v1/repositories.json")
                assert (answer.status, answer.body) == (200, '{"replicas": []}')
            assert len(mirror.asked) == 1

    run(asked())


@pytest.mark.parametrize(
    ("status", "said", "fresh_s"),
    [
        (200, "max-age=300", 300),
        (200, "public, max-age=999999", 3600),
        (200, "max-age=300, no-store", 0),
        (200, "", 0),
        (400, "max-age=300", 5),
        (503, "", 5),
    ],
)
def test_how_long_an_answer_counts(status: int, said: str, fresh_s: float) -> None:
    """As its mirror says, up to an hour; an error a moment."""
    assert Reply(status, b"", {"Cache-Control": said}).fresh_s == fresh_s


def test_answers_are_bounded() -> None:
    """The oldest make room, and what is too old is not given."""
    now = [0.0]
    replies = Replies(lambda: now[0], most=2)
    for name in "abc":
        replies.keep(("", name), Reply(200, name.encode(), {"Cache-Control": "max-age=10"}))
    assert replies.at_hand(("", "a")) is None
    now[0] = 9.0
    found = replies.at_hand(("", "b"))
    assert found is not None
    assert found[1] == 9
    now[0] = 10.0
    assert replies.at_hand(("", "b")) is None
