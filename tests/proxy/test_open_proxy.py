"""Nobody gets anywhere through it but to mirrors, whatever they write."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any, cast

import pytest

from mirror.errors import UpstreamError
from mirror.upstream.connection import Connection
from mirror.upstream.lean import Server
from mirror.upstream.options import HttpOptions
from proxy.destinations import Clients, Destinations, as_origin, is_inside, server_of
from proxy.guarded import Forbidden, GuardedServer
from tests.support.behind import Told, ask, noting_mirror, proxy_before
from tests.support.loops import run

MANIFEST = "/cvmfs/test.example.org/.cvmfspublished"
OBJECT = f"/cvmfs/test.example.org/data/ab/{'c' * 38}"
LIST = "/cvmfs/info/v1/repositories.json"
GEO = "/cvmfs/test.example.org/api/v1.0/geo/site/a.example.org,b.example.org"
ANYWHERE: dict[str, Any] = {"hosts": ["*"], "ports": [80, 8000]}
NO_CONNECTION = cast("Connection", object())
DENIED = "cvmfs-proxy; error=http_request_denied"


def told(
    target: str,
    method: str = "GET",
    host: str = "any",
    more: str = "",
    **options: Any,  # noqa: ANN401 - `ProxyOptions`
) -> Told:
    """The answer of a proxy that has one mirror, which must not be asked for it."""

    async def asked() -> Told:
        async with noting_mirror() as mirror, proxy_before(mirror.origin, **options) as port:
            answer = await ask(port, target.replace("MIRROR", mirror.origin), method, host, more)
            assert mirror.asked == []
            return answer

    return run(asked())


@pytest.mark.parametrize("target", ["evil.example.net:443", "127.0.0.1:22", "MIRROR:80"])
def test_there_are_no_tunnels(target: str) -> None:
    """CONNECT is refused whatever it names."""
    answer = told(target, "CONNECT", **ANYWHERE)
    assert answer.status in {400, 405}
    assert "Proxy-Status" not in answer.headers or answer.headers["Proxy-Status"] == DENIED


def test_a_refused_tunnel_is_told_why() -> None:
    """In words."""
    assert "makes no tunnels" in told("evil.example.net:443", "CONNECT").body


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
@pytest.mark.parametrize("target", [MANIFEST, f"MIRROR{MANIFEST}", "http://evil.example.net/"])
def test_nothing_is_written(method: str, target: str) -> None:
    """Only GET and HEAD, and it says so."""
    answer = told(target, method, more="Content-Length: 0\r\n")
    assert answer.status == 405
    assert answer.headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize("path", [MANIFEST, OBJECT, GEO])
@pytest.mark.parametrize(
    "server",
    [
        "http://evil.example.net",
        "http://evil.example.net:8000",
        "http://127.0.0.1",
        "http://127.0.0.1:22",
        "http://localhost:8000",
        "https://evil.example.net",
        "HTTP://EVIL.EXAMPLE.NET",
        "http://allowed.example.org.evil.example.net",
        "http://evil.example.net.",
    ],
)
def test_other_servers_are_refused(server: str, path: str) -> None:
    """Only those that are configured, in every spelling."""
    answer = told(f"{server}{path}", hosts=["allowed.example.org"])
    assert answer.status == 403
    assert answer.headers["Proxy-Status"] == DENIED
    assert "this proxy" in answer.body


@pytest.mark.parametrize(
    "target",
    [
        f"http://allowed.example.org@evil.example.net{MANIFEST}",
        f"http://user:password@allowed.example.org{MANIFEST}",
        f"http://@allowed.example.org{MANIFEST}",
        f"http://allowed.example.org:80@evil.example.net{MANIFEST}",
        f"http://allowed.example.org\\@evil.example.net{MANIFEST}",
        f"http://{MANIFEST}",
        f"ftp://allowed.example.org{MANIFEST}",
        f"file://{MANIFEST}",
        f"http://allowed.example.org:99999{MANIFEST}",
        f"http://allowed.example.org:-1{MANIFEST}",
        f"http://allowed.example.org#{MANIFEST}",
    ],
)
def test_tricks_with_urls_are_refused(target: str) -> None:
    """Credentials, fragments, other schemes, ports that are none."""
    assert told(target, hosts=["allowed.example.org"]).status in {400, 403}


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.1", "127.0.1", "2130706433", "017700000001", "0x7f000001", "0x7f.1"),
        *("0177.0.0.1", "127.0.0.1.", "0.0.0.0", "0", "10.0.0.1", "172.16.0.1", "192.168.1.1"),
        *("169.254.169.254", "100.64.0.1", "224.0.0.1", "255.255.255.255"),
        *("[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[fe80::1]", "[fc00::1]"),
        *(
            "[64:ff9b::7f00:1]",
            "[2002:7f00:1::]",
            "[::127.0.0.1]",
            "[0:0:0:0:0:0:0:1]",
            "[ff02::1]",
        ),
    ],
)
@pytest.mark.parametrize("path", [MANIFEST, OBJECT, GEO])
def test_addresses_of_the_inside_are_refused(host: str, path: str) -> None:
    """In every spelling that some resolver understands, even where all hosts are allowed."""
    answer = told(f"http://{host}:8000{path}", **ANYWHERE)
    assert answer.status == 403
    assert "inside" in answer.body or "no name" in answer.body


@pytest.mark.parametrize("path", [MANIFEST, GEO])
@pytest.mark.parametrize(
    "addresses", [["127.0.0.1"], ["10.1.2.3"], ["::1"], ["169.254.169.254", "fe80::1%eth0"]]
)
def test_names_that_lead_inside_are_refused(
    addresses: list[str], path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name is what its addresses are."""
    answers(monkeypatch, addresses)
    answer = told(f"http://mirror.example.net:8000{path}", **ANYWHERE)
    assert answer.status == 403
    assert answer.headers["Proxy-Status"] == "cvmfs-proxy; error=destination_ip_prohibited"
    assert "mirror.example.net leads to an address of the inside" in answer.body


def test_a_name_is_asked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The address that was looked at is connected to, whatever the name means a moment later."""
    asked = answers(monkeypatch, ["203.0.114.5"], ["127.0.0.1"])
    connected: list[str] = []

    async def connect(server: Server, _connection: Connection) -> None:
        connected.append(server.host)

    monkeypatch.setattr(Server, "connect", connect)
    server = GuardedServer.at("http://rebinding.example.net:8000/cvmfs", HttpOptions())
    run(server.connect(NO_CONNECTION))
    assert connected == ["203.0.114.5"]
    assert asked == ["rebinding.example.net"]


def test_of_several_addresses_only_those_outside_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the name is asked for again at the next connection."""
    answers(monkeypatch, ["127.0.0.1", "203.0.114.5", "10.0.0.1", "2606:4700::1"], ["192.168.0.1"])
    tried: list[str] = []

    async def connect(server: Server, _connection: Connection) -> None:
        tried.append(server.host)
        raise UpstreamError("no")

    monkeypatch.setattr(Server, "connect", connect)
    server = GuardedServer.at("http://rebinding.example.net:8000/cvmfs", HttpOptions())
    with pytest.raises(UpstreamError, match="no"):
        run(server.connect(NO_CONNECTION))
    assert tried == ["203.0.114.5", "2606:4700::1"]
    with pytest.raises(Forbidden):
        run(server.connect(NO_CONNECTION))


@pytest.mark.parametrize("path", ["/", "/etc/passwd", "/cvmfs/", "/server-status", "/cvmfs/../x"])
def test_only_paths_of_cvmfs(path: str) -> None:
    """Neither of the mirror nor of the proxy."""
    assert told(path).status in {400, 404}
    assert told(f"MIRROR{path}").status in {400, 404}


def test_the_host_header_means_nothing() -> None:
    """Whom to ask is in the request line, or else in the configuration."""

    async def asked() -> None:
        async with noting_mirror() as mirror, proxy_before(mirror.origin) as port:
            mirror.answers[LIST] = (200, "{}", {})
            for target in (LIST, f"{mirror.origin}{LIST}"):
                answer = await ask(port, target, host="evil.example.net")
                assert (answer.status, answer.body) == (200, "{}")
            answer = await ask(
                port, f"http://evil.example.net{LIST}", host=f"127.0.0.1:{mirror.port}"
            )
            assert answer.status == 403
            assert {path for path, _ in mirror.asked} == {LIST}

    run(asked())


@pytest.mark.parametrize("target", [MANIFEST, f"MIRROR{MANIFEST}", "/robots.txt", "*"])
@pytest.mark.parametrize("method", ["GET", "POST", "CONNECT"])
def test_clients_from_elsewhere_are_refused(target: str, method: str) -> None:
    """Whatever they ask."""
    answer = told(target, method, clients=["192.0.2.0/24"])
    assert answer.status == 403
    assert "127.0.0.1 is not in the networks that may use this proxy" in answer.body
    assert answer.headers["Proxy-Status"] == DENIED


def test_clients_from_elsewhere_are_logged(tmp_path: Path) -> None:
    """The operator sees who was turned away, and what they wanted; a line that is none, too."""
    log = tmp_path / "log"

    async def asked() -> None:
        told = {"path": str(log), "format": "json"}
        options = {"clients": ["192.0.2.0/24"], "access_log": told}
        async with proxy_before("http://127.0.0.1:9", **options) as port:
            assert (await ask(port, MANIFEST, "HEAD")).body == ""
            assert (await ask(port, "no target at all")).status == 403

    run(asked())
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [each["target"] for each in lines] == [MANIFEST, "-"]
    assert [each["status"] for each in lines] == [403, 403]


def test_who_may_come_in() -> None:
    """A site's own networks, unless others are configured."""
    clients = Clients()
    assert all(
        map(clients.allows, ("127.0.0.1", "10.1.1.1", "::1", "::ffff:10.1.1.1", "fe80::1%a"))
    )
    assert not any(map(clients.allows, ("8.8.8.8", "2606:4700::1", "::ffff:8.8.8.8", "", "x")))


def test_what_is_inside() -> None:
    """Addresses of IPv4 within such of IPv6 are what they lead to."""
    assert not any(
        map(is_inside, ("8.8.8.8", "2606:4700::1", "::ffff:8.8.8.8", "64:ff9b::808:808"))
    )
    assert all(
        map(is_inside, ("::1", "64:ff9b::a00:1", "2002:a00:1::", "nonsense", "fe80::1%eth0"))
    )


def test_servers_are_compared_in_one_spelling() -> None:
    """Case, a dot at the end, and the port that goes without saying."""
    assert as_origin("HTTP://Mirror.Example.ORG.") == "http://mirror.example.org:80"
    assert server_of("http://[::1]:8000") == ("[::1]", 8000)
    assert server_of("http://a@b") is None
    mirrors = Destinations(servers=frozenset({"[::1]:8000", "127.0.0.1:81"}))
    assert mirrors.allows("[::1]", 8000)
    assert mirrors.allows("::1", 8000)
    assert mirrors.allows("127.0.0.1", 81)
    assert not mirrors.allows("127.0.0.1", 8000)


def answers(monkeypatch: pytest.MonkeyPatch, *sequence: list[str]) -> list[str]:
    """A resolver that says one thing after the other; gives the names it was asked for."""
    asked: list[str] = []

    def getaddrinfo(host: str, port: int, *_: object, **__: object) -> list[tuple[Any, ...]]:
        addresses = sequence[min(len(asked), len(sequence) - 1)]
        asked.append(host)
        return [
            (
                socket.AF_INET6 if ":" in each else socket.AF_INET,
                socket.SOCK_STREAM,
                6,
                "",
                (each, port),
            )
            for each in addresses
        ]

    real = socket.getaddrinfo

    def only_names(
        host: str,
        port: int,
        *more: Any,  # noqa: ANN401 - as `socket.getaddrinfo`
        **options: Any,  # noqa: ANN401 - likewise
    ) -> list[Any]:
        is_ours = str(host).endswith(".example.net")
        return (getaddrinfo if is_ours else real)(host, port, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", only_names)
    return asked
