"""A new database is put in place whole, or not at all."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from base64 import b64encode
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from mirror.cli.main import run
from tests.support.geo_world import SITES, first_address, small_world, write_database

AUTH = "Basic " + b64encode(b"7:secret").decode()


class Shop:
    """A server that has files, some for its customers only."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        shop = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                shop.asked.append(self.path)
                may = not self.path.startswith("/paid") or self.headers["Authorization"] == AUTH
                body = shop.files.get(self.path) if may else b""
                self.send_response(401 if not may else 404 if body is None else 200)
                self.send_header("Content-Length", str(len(body or b"")))
                self.end_headers()
                self.wfile.write(body or b"")

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        """End."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def shop() -> Iterator[Shop]:
    """An empty one."""
    shop = Shop()
    yield shop
    shop.close()


@pytest.fixture
def database(tmp_path: Path) -> bytes:
    """A sound one."""
    write_database(tmp_path / "made.mmdb", small_world().networks)
    return (tmp_path / "made.mmdb").read_bytes()


@pytest.fixture
def update(tmp_path: Path) -> Callable[..., int]:
    """Run the verb."""
    config = tmp_path / "mirror.toml"
    config.write_text(f'[geo]\ndatabases = ["{tmp_path}/geo/city.mmdb"]\n')
    return lambda *more: run(["geo", "update", "--config", str(config), *map(str, more)])


def target(tmp_path: Path) -> Path:
    """Where it belongs."""
    return tmp_path / "geo" / "city.mmdb"


def tar(name: str, content: bytes) -> bytes:
    """As MaxMind packs it."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        member = tarfile.TarInfo(f"GeoLite2-City_20261121/{name}")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def sha256(content: bytes) -> str:
    """In hex."""
    return hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("form", ["mmdb", "gz", "tar.gz"])
def test_forms(
    shop: Shop, tmp_path: Path, update: Callable[..., int], database: bytes, form: str
) -> None:
    """As it is, packed, or in an archive; the second time nothing is fetched."""
    packed = {
        "mmdb": database,
        "gz": gzip.compress(database),
        "tar.gz": tar("a.mmdb", database),
    }[form]
    shop.files = {"/db": packed, "/db.sha256": f"{sha256(packed)}  db\n".encode()}
    options = "--url", f"{shop.url}/db", "--sha256", f"{shop.url}/db.sha256"
    assert update(*options, "--dry-run") == 0
    assert not target(tmp_path).exists()
    assert update(*options) == 0
    assert target(tmp_path).read_bytes() == database
    assert update(*options) == 0
    assert shop.asked.count("/db") == 1
    names = {each.name for each in target(tmp_path).parent.iterdir()}
    assert names == {"city.mmdb", "city.mmdb.sha256"}


@pytest.mark.parametrize(
    ("content", "status"), [(b"<html>", 4), (b"\x1f\x8bxxx", 4), (tar("a.txt", b""), 4)]
)
def test_what_is_no_database_is_not_taken(
    shop: Shop, tmp_path: Path, update: Callable[..., int], content: bytes, status: int
) -> None:
    """Even with the right checksum; the old one stays."""
    target(tmp_path).parent.mkdir()
    target(tmp_path).write_bytes(b"old")
    shop.files["/db"] = content
    assert update("--url", f"{shop.url}/db", "--sha256", sha256(content)) == status
    assert [each.read_bytes() for each in target(tmp_path).parent.iterdir()] == [b"old"]


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ([], 2),
        (["--url", "SHOP/db"], 2),
        (["--account", "7", "--licence-key", "/nonexistent"], 2),
        (["--url", "SHOP/db", "--sha256", "0" * 64], 3),
        (["--url", "SHOP/db", "--sha256", "SHOP/none"], 3),
        (["--url", "SHOP/none", "--sha256", "0" * 64], 3),
        (["--url", "SHOP/paid", "--sha256", "0" * 64], 3),
        (["--url", "http://127.0.0.1:1/db", "--sha256", "0" * 64], 3),
        (["--url", "SHOP/db", "--sha256", "GOOD", "--into", "/proc/none/city.mmdb"], 5),
    ],
)
def test_exit_codes(
    shop: Shop, update: Callable[..., int], database: bytes, options: list[str], status: int
) -> None:
    """As of the other verbs."""
    shop.files["/db"] = database
    words = {"SHOP": shop.url, "GOOD": sha256(database)}
    for word, meant in words.items():
        options = [each.replace(word, meant) for each in options]
    assert update(*options) == status


def test_maxmind(
    shop: Shop,
    tmp_path: Path,
    update: Callable[..., int],
    database: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With account and key, which are never told to anybody else."""
    packed = tar("GeoLite2-City.mmdb", database)
    shop.files = {"/paid": packed, "/paid.sha256": f"{sha256(packed)}  x".encode()}
    monkeypatch.setattr("mirror.geo.fetching.MAXMIND", f"{shop.url}/paid")
    key = tmp_path / "key"
    for secret, status in (("wrong", 3), ("secret\n", 0)):
        key.write_text(secret)
        assert update("--account", "7", "--licence-key", key) == status
    assert target(tmp_path).read_bytes() == database


def test_explain(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Who is where, says who, and how far; as text and as JSON."""
    write_database(tmp_path / "city.mmdb", small_world().networks)
    config = tmp_path / "mirror.toml"
    cern, fnal = (first_address(SITES[f"{each}.example.org"][0]) for each in ("cern", "fnal"))
    table = '"s1.example.org" = [39.9, 116.4]'
    config.write_text(f'[geo]\ndatabases = ["{tmp_path}/city.mmdb"]\n[geo.locations]\n{table}\n')
    verb = ["geo", "explain", "--config", str(config)]
    servers = ["s1.example.org", fnal, cern, "198.51.100.1"]
    assert run([*verb, cern, *servers]) == 0
    said = capsys.readouterr().out
    assert said.splitlines()[0] == f"client {cern}: 46.20, 6.10 (city.mmdb)"
    assert [line.split()[0] for line in said.splitlines()[2:6]] == ["3", "2", "1", "4"]
    assert said.endswith("answer: 3,2,1,4 (distance, for 3600 s)\n")
    assert run([*verb, cern, *servers, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["answer"] == "3,2,1,4"
    assert [each["source"] for each in told["servers"]] == [
        *("city.mmdb", "city.mmdb", "[geo.locations] s1.example.org"),
        "city.mmdb, but without a location",
    ]
    assert run([*verb, "a/b", "c"]) == 2
    assert run([*verb, "203.0.113.1", "short"]) == 0
    said = capsys.readouterr().out
    assert "nobody knows where it is: in no database" in said
    assert "is no host name" in said
