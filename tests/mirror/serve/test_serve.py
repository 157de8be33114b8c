"""What clients and caches get: the header table of the contract, and nothing that is not ours."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.cvmfs.fqrn import Fqrn
from mirror.cvmfs.paths import is_immutable, is_root_file
from mirror.errors import FormatError
from mirror.serve.resources import resource
from tests.support.served import served

DIGITS = "0123456789abcdef"
OBJECT = f"data/ab/{'c' * 38}"
BASE = "/cvmfs/test.example.org"


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A storage directory with one of everything, and things that nobody may get."""
    storage = tmp_path_factory.mktemp("srv")
    root = storage / "test.example.org"
    (root / "data" / "ab").mkdir(parents=True)
    (root / "data" / "txn").mkdir()
    (storage / "info" / "v1").mkdir(parents=True)
    for path, content in {
        root / OBJECT: bytes(range(256)) * 4000,
        root / f"{OBJECT}C": b"catalog",
        root / "data" / "txn" / "secret": b"secret",
        root / ".cvmfspublished": b"manifest",
        root / ".cvmfs_status.json": b"{}",
        root / "notes.txt": b"secret",
        storage / "info" / "v1" / "repositories.json": b"{}",
        storage / "mirror.toml": b"secret",
    }.items():
        path.write_bytes(content)
    (root / f"data/ab/{'d' * 38}").symlink_to("/etc/passwd")
    return storage


@pytest.fixture(scope="module")
def url(storage: Path) -> Iterator[str]:
    """Our server."""
    with served(storage) as url:
        yield url


def ask(
    url: str, path: str, method: str = "GET", headers: dict[str, str] | None = None
) -> tuple[http.client.HTTPResponse, bytes]:
    """One request by the plainest of clients."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
    try:
        connection.request(method, path, headers=headers or {})
        response = connection.getresponse()
        return response, response.read()
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("path", "content_type", "freshness"),
    [
        (f"{BASE}/.cvmfspublished", "application/x-cvmfs", "max-age=61"),
        (f"{BASE}/.cvmfs_status.json", "application/json", "max-age=61"),
        (f"{BASE}/{OBJECT}", "application/octet-stream", "max-age=259200"),
        (f"{BASE}/{OBJECT}C", "application/octet-stream", "max-age=259200"),
        (f"{BASE}/.cvmfsalt-ab{'c' * 38}C", "application/octet-stream", "max-age=259200"),
        ("/cvmfs/info/v1/repositories.json", "application/json", "max-age=61"),
    ],
)
def test_header_table(url: str, path: str, content_type: str, freshness: str) -> None:
    """Type and freshness by the class of a path; never a date or tag to compare with."""
    response, _ = ask(url, path, headers={"If-Modified-Since": "Sat, 21 Nov 2099 00:00:00 GMT"})
    assert response.status == 200
    assert response.headers["Content-Type"] == content_type
    assert freshness in response.headers["Cache-Control"]
    assert "Last-Modified" not in response.headers
    assert "ETag" not in response.headers


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/cvmfs",
        "/cvmfs/",
        BASE,
        f"{BASE}/",
        f"{BASE}/data",
        f"{BASE}/data/",
        f"{BASE}/data/ab/",
        f"{BASE}/data/txn/",
        f"{BASE}/data/txn/secret",
        f"{BASE}/notes.txt",
        f"{BASE}/data/ab/{'d' * 38}",
        f"{BASE}/data/ab/{'e' * 38}",
        f"{BASE}/../mirror.toml",
        f"{BASE}/%2e%2e/mirror.toml",
        f"{BASE}/..%2fmirror.toml",
        f"{BASE}/.cvmfs/../../mirror.toml",
        f"{BASE}/.cvmfsalt-../../mirror.toml",
        f"{BASE}/.cvmfspublished/",
        f"{BASE}/.cvmfspublished%00",
        f"{BASE}//{OBJECT}",
        f"/cvmfs/../{BASE[7:]}/{OBJECT}",
        f"/cvmfs/./{OBJECT}",
        "/cvmfs/info/v1/../../mirror.toml",
        "/cvmfs/info/v2/repositories.json",
        "/mirror.toml",
        "//etc/passwd",
    ],
)
def test_everything_else_is_404_and_not_to_be_remembered(url: str, path: str) -> None:
    """No listing, no temporaries, no way out of the directory, no link followed."""
    response, body = ask(url, path)
    assert response.status == 404
    assert response.headers["Cache-Control"] == "no-store"
    assert b"secret" not in body
    assert b"root:" not in body


def test_head_is_get_without_its_body(url: str) -> None:
    """The same headers, and no byte behind them."""
    got, body = ask(url, f"{BASE}/{OBJECT}")
    asked, nothing = ask(url, f"{BASE}/{OBJECT}", "HEAD")
    assert (len(body), nothing) == (1_024_000, b"")
    assert {**asked.headers, "Date": ""} == {**got.headers, "Date": ""}


@pytest.mark.parametrize(
    ("header", "first", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=10-299999", 10, 300_000),
        ("bytes=1023000-", 1_023_000, 1_024_000),
        ("bytes=-500", 1_023_500, 1_024_000),
        ("bytes=1000-9999999", 1_000, 1_024_000),
    ],
)
def test_a_range(url: str, header: str, first: int, end: int) -> None:
    """Exactly the bytes asked for, and where they stand."""
    response, body = ask(url, f"{BASE}/{OBJECT}", headers={"Range": header})
    assert response.status == 206
    assert response.headers["Content-Range"] == f"bytes {first}-{end - 1}/1024000"
    assert body == (bytes(range(256)) * 4000)[first:end]


@pytest.mark.parametrize("header", ["bytes=1024000-", "bytes=1024000-1024009", "bytes=-0"])
def test_a_range_that_cannot_be(url: str, header: str) -> None:
    """Nothing of the file is in it: 416, with the size."""
    response, _ = ask(url, f"{BASE}/{OBJECT}", headers={"Range": header})
    assert (response.status, response.headers["Content-Range"]) == (416, "bytes */1024000")


@pytest.mark.parametrize(
    "header", ["bytes=5-6,0-1", "lines=1-2", "bytes=5-2", "bytes=x-y", "bytes=-", "bytes="]
)
def test_ranges_we_do_not_take_give_the_whole(url: str, header: str) -> None:
    """A server may ignore them, and says so with 200."""
    response, body = ask(url, f"{BASE}/{OBJECT}", headers={"Range": header})
    assert (response.status, len(body)) == (200, 1_024_000)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_can_be_changed(url: str, method: str) -> None:
    """Only GET and HEAD are methods here."""
    assert ask(url, f"{BASE}/{OBJECT}", method)[0].status == 405


def test_robots_are_sent_away(url: str) -> None:
    """Nobody needs a search index of hashes."""
    assert ask(url, "/robots.txt")[1] == b"User-agent: *\nDisallow: /\n"


def test_a_file_cut_short_under_way_is_not_completed(url: str, storage: Path) -> None:
    """The connection ends early, so that the client knows; it is never padded."""
    victim = storage / "test.example.org" / "data" / "ab" / ("9" * 38)
    with victim.open("wb") as file:
        file.truncate(400_000_000)
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port or 0), timeout=30) as client:
        client.sendall(f"GET {BASE}/data/ab/{'9' * 38} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        received = len(client.recv(65536))
        with victim.open("r+b") as file:
            file.truncate(1000)
        while piece := client.recv(1 << 20):
            received += len(piece)
    victim.unlink()
    assert received < 400_000_000


@given(
    st.text(alphabet="/.%\\\0 adtxn0f~-C" + DIGITS, max_size=80)
    | st.builds(lambda a, b: f"data/{a}/{b}", st.text(DIGITS, max_size=3), st.text(DIGITS))
)
def test_no_path_leads_out(inside: str) -> None:
    """Whatever is asked, what is opened is an object, a root file, or nothing."""
    found = resource(f"/cvmfs/a.b/{inside}")
    if found is not None:
        name, _, below = str(found.path).partition("/")
        assert name == "a.b"
        assert is_immutable(below) or is_root_file(below)


@given(st.text(max_size=20))
def test_no_repository_name_leads_out(name: str) -> None:
    """The first component is a repository's name or nothing is found."""
    found = resource(f"/cvmfs/{name}/.cvmfspublished")
    if found is not None:
        assert Fqrn(name).name == name
    else:
        with pytest.raises(FormatError):
            Fqrn(name)
