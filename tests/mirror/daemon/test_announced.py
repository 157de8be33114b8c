"""Who is listened to, and when that counts."""

from __future__ import annotations

import asyncio

import aiohttp

from mirror.cvmfs.fqrn import Fqrn
from mirror.daemon.announced import Announced
from mirror.daemon.subscriber import Subscriber, Told
from tests.support.loops import run

ONE, TWO = Fqrn("one.example.org"), Fqrn("two.example.org")
SERVER = "http://127.0.0.1:9"


class Listener(Subscriber):
    """One that is connected until it is cancelled, and can be made to hear."""

    def __init__(self, session: aiohttp.ClientSession, url: str, fqrn: Fqrn, told: Told) -> None:
        super().__init__(session, url, fqrn, told)
        self.tell = told

    async def run(self) -> None:
        """As `Subscriber.run`."""
        self.is_connected = True
        try:
            await asyncio.Event().wait()
        finally:
            self.is_connected = False


def test_who_is_listened_to() -> None:
    """One subscriber for each server and replica, no more and no longer than configured."""
    made: list[Listener] = []
    heard: list[tuple[Fqrn, int]] = []

    def make(session: aiohttp.ClientSession, url: str, fqrn: Fqrn, told: Told) -> Listener:
        made.append(Listener(session, url, fqrn, told))
        return made[-1]

    async def main() -> None:
        announced = Announced(lambda *told: heard.append(told), make)
        await announced.follow([SERVER, f"{SERVER}1/api/v1/"], [ONE, TWO])
        await announced.follow([SERVER], [ONE, TWO])
        await asyncio.sleep(0)
        assert {(each.url, each.fqrn) for each in made if each.is_connected} == {
            (f"{SERVER}/api/v1", ONE),
            (f"{SERVER}/api/v1", TWO),
        }
        assert len(made) == 4
        await announced.stop()
        assert not any(each.is_connected for each in made)

    run(main())
    assert {each.url for each in made} == {f"{SERVER}/api/v1", f"{SERVER}1/api/v1"}


def test_a_server_that_never_says_anything_of_it() -> None:
    """It is no reason to look less often; one that has spoken is, while it is connected."""
    made: list[Listener] = []

    def make(session: aiohttp.ClientSession, url: str, fqrn: Fqrn, told: Told) -> Listener:
        made.append(Listener(session, url, fqrn, told))
        return made[-1]

    async def main() -> None:
        announced = Announced(lambda *_: None, make)
        await announced.follow([SERVER], [ONE, TWO])
        await asyncio.sleep(0)
        assert not announced.is_told(ONE)
        made[0].tell(made[0].fqrn, 7)
        assert [announced.is_told(each) for each in (ONE, TWO)] == [True, False]
        made[0].is_connected = False
        assert not announced.is_told(ONE)
        await announced.stop()

    run(main())
