"""Several workers under one supervisor: whatever becomes of one of them, clients get answers."""

from __future__ import annotations

import asyncio
import http.client
import os
import signal
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from mirror.errors import ConfigError
from mirror.serve.backoff import Backoff
from mirror.serve.descriptors import fitting
from mirror.serve.doors import Doors
from mirror.serve.limits import ServeLimits
from mirror.serve.workers import Plan, Workers
from tests.support.loops import run
from tests.support.names import needs_localhost
from tests.support.processes import is_over, open_descriptors
from tests.support.supervised import (
    CONTENT,
    OBJECT,
    Client,
    Crowd,
    ask_once,
    owner,
    storage_at,
    supervised,
    write_config,
)
from tests.support.tasks import until


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A directory whose ``srv`` holds one object."""
    storage_at(tmp_path / "srv")
    return tmp_path


def receive(client: socket.socket, enough: Callable[[bytes], bool] = lambda _: False) -> bytes:
    """Everything, or until it is enough."""
    got = b""
    while not enough(got) and (piece := client.recv(1 << 16)):
        got += piece
    return got


def begin(url: str, path: str = OBJECT) -> socket.socket:
    """A request on a connection of its own."""
    host, _, port = url.removeprefix("http://").rpartition(":")
    client = socket.create_connection((host.strip("[]"), int(port)), timeout=60)
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return client


# --- a worker dies --------------------------------------------------------------------------------


def test_a_killed_worker_takes_only_its_own_connections_along(site: Path) -> None:
    """It is replaced at once; clients of the others notice nothing."""
    with supervised(site, "workers = 2") as server:
        before = server.workers()
        clients = [Client(server.url) for _ in range(24)]
        for each in clients:
            assert each.ask() == CONTENT
        owners = [owner(each.port, before) for each in clients]
        assert set(owners) == before  # chance lets one have all once in eight million times
        victim = before.pop()
        os.kill(victim, signal.SIGKILL)
        for client, theirs in zip(clients, owners, strict=True):
            if theirs == victim:
                with pytest.raises((OSError, http.client.HTTPException)):
                    client.ask()
            else:
                assert client.ask() == CONTENT
            client.close()
        until(lambda: len(server.workers()) == 2 and victim not in server.workers())
        assert before <= server.workers()
        until(lambda: server.has_said(f"worker {victim} was ended by SIGKILL"))


def test_workers_killed_under_load_cost_a_client_one_request_each(site: Path) -> None:
    """Nobody is refused, since the sockets are the supervisor's."""
    with supervised(site, "workers = 2") as server, Crowd(server.url) as crowd:
        crowd.wait_for_answers(20)
        for victim in server.workers():
            os.kill(victim, signal.SIGKILL)
            until(lambda victim=victim: server.renewed({victim}, 2))  # type: ignore[misc]  # bound
        crowd.wait_for_answers(20)
        assert len(crowd.errors) <= 8
        assert not any("refused" in each for each in crowd.errors)


def test_a_worker_that_dies_again_and_again_is_replaced_less_and_less_quickly() -> None:
    """At once the first time, and again when it had lived for a while."""
    backoff = Backoff()
    assert backoff.pause_s(1000) == 0
    pauses = [backoff.pause_s(1001), backoff.pause_s(1002), backoff.pause_s(1004)]
    assert pauses == [0.5, 1, 2]
    assert [backoff.pause_s(1010 + i) for i in range(10)][-1] == 30
    assert backoff.pause_s(2000) == 0


# --- all of them are replaced ---------------------------------------------------------------------


def test_a_rolling_restart_loses_no_request(site: Path) -> None:
    """Clients on keep-alive connections, which ask all the time, get whole right answers."""
    with supervised(site, "workers = 2") as server, Crowd(server.url) as crowd:
        for _ in range(2):
            crowd.wait_for_answers(20)
            before = server.workers()
            server.send(signal.SIGHUP)
            until(lambda before=before: server.renewed(before))  # type: ignore[misc]  # bound
        crowd.wait_for_answers(20)
    assert crowd.errors == []


def test_a_client_that_is_idle_is_asked_to_leave_with_its_next_answer(site: Path) -> None:
    """And gets that answer, from a worker that has nothing else to do any more."""
    with supervised(site, "workers = 1\n[serve.limits]\ndrain_s = 300.0") as server:
        before = server.workers()
        with begin(server.url) as client:
            receive(client, lambda got: got.endswith(CONTENT))
            server.send(signal.SIGHUP)
            until(lambda: len(server.workers()) == 2 and len(server.urls) == 2)
            answer = b""
            while b"\r\nConnection: close\r\n" not in answer:  # it may not have heard of it yet
                client.sendall(f"GET {OBJECT} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                answer = receive(client, lambda got: got.endswith(CONTENT))
            assert receive(client) == b""
        until(lambda: server.renewed(before))


def test_an_idle_connection_is_closed_when_there_is_no_more_time(site: Path) -> None:
    """Else a worker would stay as long as its most patient client."""
    with (
        supervised(site, "workers = 1\n[serve.limits]\ndrain_s = 0.1") as server,
        begin(server.url) as client,
    ):
        receive(client, lambda got: got.endswith(CONTENT))
        server.send(signal.SIGHUP)
        assert receive(client) == b""


def test_a_wrong_configuration_is_not_taken_over(site: Path) -> None:
    """It is told what is wrong with it, and everything goes on as it was."""
    with supervised(site, "workers = 1") as server:
        before = server.workers()
        write_config(server.config, "wrokers = 2")
        server.send(signal.SIGHUP)
        until(lambda: server.has_said("goes on as before"))
        assert server.has_said("serve.wrokers: no such setting; did you mean workers?")
        assert (server.workers(), ask_once(server.url)) == (before, CONTENT)
        write_config(server.config, "workers = 2")
        server.send(signal.SIGHUP)
        until(lambda: server.renewed(before, 2))


def test_an_address_that_is_taken_is_a_wrong_configuration(site: Path) -> None:
    """Though `SO_REUSEPORT` would let us share its clients with whoever has it."""
    with supervised(site, "workers = 1") as other, supervised(site, "workers = 1") as server:
        write_config(server.config, "", f'"{other.url.removeprefix("http://")}"')
        server.send(signal.SIGHUP)
        until(lambda: server.has_said("another program has the port"))
        assert ask_once(server.url) == CONTENT


def test_addresses_and_the_number_of_workers_may_change(site: Path) -> None:
    """What stays goes on without a gap; what is new is served, what is gone is refused."""
    with supervised(site, "workers = 2", '"127.0.0.1:0", "127.0.0.2:0"', urls=2) as server:
        before = server.workers()
        kept, gone = server.urls
        write_config(server.config, "workers = 1", '"127.0.0.1:0", "127.0.0.3:0"')
        server.send(signal.SIGHUP)
        until(lambda: server.renewed(before, 1))
        until(lambda: len(server.urls) == 4)
        assert server.urls[2] == kept
        assert [ask_once(each) for each in server.urls[2:]] == [CONTENT, CONTENT]
        with pytest.raises(ConnectionRefusedError):
            begin(gone)


def test_logs_are_opened_anew(site: Path) -> None:
    """SIGUSR1, after the file was renamed: the next request is in the new one."""
    log = site / "access.log"
    setting = f'workers = 1\n[serve.access_log]\npath = "{log}"'
    with supervised(site, setting) as server:
        assert ask_once(server.url) == CONTENT
        until(lambda: OBJECT in log.read_text())
        log.rename(site / "access.log.1")
        server.send(signal.SIGUSR1)
        until(log.exists)
        assert ask_once(server.url) == CONTENT
        until(lambda: OBJECT in log.read_text())
        before = server.workers()
        write_config(server.config, f'[serve.access_log]\npath = "{site}/srv"')
        server.send(signal.SIGHUP)
        until(lambda: server.has_said("serve.access_log.path: "))
        assert server.workers() == before


# --- the end --------------------------------------------------------------------------------------


def test_workers_end_with_their_supervisor(site: Path) -> None:
    """However that ends; and the address is free for the next one."""
    with supervised(site, "workers = 2") as server:
        workers = server.workers()
        server.process.kill()
        until(lambda: all(is_over(each) for each in workers))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_large_download_is_completed(site: Path, number: signal.Signals) -> None:
    """When the service ends, or the worker is replaced."""
    large = "/cvmfs/test.example.org/data/ab/" + "d" * 38
    with (site / "srv" / large.removeprefix("/cvmfs/")).open("wb") as file:
        file.truncate(200_000_000)
    with supervised(site, "workers = 1\n[serve.limits]\ndrain_s = 300.0") as server:
        (worker,) = server.workers()
        with begin(server.url, large) as client:
            head = receive(client, lambda got: b"\r\n\r\n" in got)
            length = len(head) - head.index(b"\r\n\r\n") - 4
            server.send(number)
            if number is signal.SIGHUP:
                until(lambda: len(server.workers()) == 2)
            while length < 200_000_000:
                length += len(client.recv(1 << 20))
        assert length == 200_000_000
        until(lambda: is_over(worker))
        if number is signal.SIGTERM:
            assert server.process.wait(60) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_well_when_told_to(site: Path, number: signal.Signals) -> None:
    """With exit code 0, and nobody left."""
    with supervised(site, "workers = 2") as server:
        workers = server.workers()
        server.send(number)
        assert server.process.wait(60) == 0
        assert all(is_over(each) for each in workers)


def test_who_cannot_wait_asks_twice(site: Path) -> None:
    """The second signal ends clients, too."""
    with (
        supervised(site, "workers = 1\n[serve.limits]\ndrain_s = 3000.0") as server,
        begin(server.url) as client,
    ):
        receive(client, lambda got: got.endswith(CONTENT))
        server.send(signal.SIGTERM)
        until(lambda: _is_refused(server.url))
        server.send(signal.SIGTERM)
        assert server.process.wait(60) == 0


def _is_refused(url: str) -> bool:
    try:
        begin(url).close()
    except ConnectionRefusedError:
        return True
    return False


# --- addresses, limits, and a supervisor in somebody else's loop ----------------------------------


@needs_localhost
def test_several_addresses_of_both_families(site: Path) -> None:
    """Each of them, at its own port; a name may be several."""
    with supervised(site, "workers = 2", '"127.0.0.2:0", "[::1]:0", "localhost:0"', 3) as server:
        assert "[::1]" in server.urls[1]
        assert {ask_once(each) for each in server.urls} == {CONTENT}


def test_one_address_under_two_names_is_one() -> None:
    """Sockets are shared by place, and stay when the configuration changes around them."""
    doors = Doors().changed([("127.0.0.1", 0)], [], 2)
    try:
        more = doors.changed([("127.0.0.1", 0), ("127.0.0.1", 0), ("127.0.0.2", 0)], [], 3)
        assert more.of(0)[0][0] is doors.of(0)[0][0]
        assert len(more.urls) == 2
        doors.close_but(more)
        assert doors.of(1)[0][0].fileno() >= 0
        more.close_but()
        assert doors.of(1)[0][0].fileno() < 0
    finally:
        doors.close_but()


@pytest.mark.parametrize("plain", [("no.such.host.invalid", 80), ("a..b", 80), ("192.0.2.1", 0)])
def test_where_one_cannot_listen_nothing_stays_open(plain: tuple[str, int]) -> None:
    """The problem names the address."""
    before = open_descriptors()
    with pytest.raises(ConfigError, match=f"cannot listen on {plain[0]}:{plain[1]}"):
        Doors().changed([("127.0.0.1", 0), plain], [], 2)
    assert open_descriptors() == before


def test_as_many_connections_as_there_are_descriptors_for() -> None:
    """Fewer than configured with a warning, and none at all is an error."""
    limits = ServeLimits(connections=1000)
    assert fitting(limits, 100, 10_000) == (limits, "")
    fewer, warning = fitting(limits, 100, 1000)
    assert fewer.connections == 1000 - 100 - 128
    assert "772 connections for each worker, not 1000" in warning
    with pytest.raises(ConfigError, match="open_files"):
        fitting(limits, 900, 1000)


def test_a_worker_that_does_not_get_ready(site: Path) -> None:
    """Nothing is left of the attempt; what was served before is served on."""
    room = {"memory_bytes": 10**6, "object_bytes": 10**5, "open_files": 10}
    about = {"storage": str(site / "srv"), "room": room, "access_log": {}}
    plan = Plan("mirror.serve.running:tree_worker", about, listen=(("127.0.0.1", 0),))

    async def main() -> None:
        said: list[str] = []
        async with Workers(said.append) as workers:
            await workers.follow(plan)
            urls, processes = workers.urls, workers.processes
            broken = Plan("os:getpid", {}, listen=(*plan.listen, ("127.0.0.2", 0)))
            with pytest.raises(ConfigError, match="ended with status 1 at its start"):
                await workers.follow(broken)
            assert (workers.urls, workers.processes) == (urls, processes)
            assert await asyncio.to_thread(ask_once, urls[0]) == CONTENT
            await workers.follow(plan)
            assert await asyncio.to_thread(ask_once, urls[0]) == CONTENT
            totals = workers.counters.totals  # who asked has its answer before it is counted
            counted = partial(until, lambda: sum(each for each, _ in totals().values()) == 2)
            await asyncio.to_thread(counted)
        assert workers.processes == []
        assert said == []

    run(main())
