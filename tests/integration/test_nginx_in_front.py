"""The example configuration for nginx, in the real nginx, in front of the real server."""

from __future__ import annotations

import http.client
import shutil
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.keys import Keys
from tests.support.servers import tls_files
from tests.support.supervised import CONTENT, OBJECT, storage_at, supervised
from tests.support.tasks import until

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "nginx.conf"
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(NGINX is None, reason="nginx is not on PATH"),
]


@contextmanager
def nginx(directory: Path, url: str, key: Path, certificate: Path) -> Iterator[int]:
    """The example with the paths and ports of this host; gives nginx's port."""
    port = _free_port()
    text = EXAMPLE.read_text()
    for theirs, here in {
        "127.0.0.1:8000": url.removeprefix("http://"),
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "    listen [::]:443 ssl;\n": "",
        "/etc/ssl/mirror.pem": str(certificate),
        "/etc/ssl/private/mirror.key": str(key),
    }.items():
        assert theirs in text
        text = text.replace(theirs, here)
    (directory / "example.conf").write_text(text)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"{kind}_temp_path {directory}/{kind};" for kind in kinds)
    (directory / "nginx.conf").write_text(
        f"daemon off; pid {directory}/nginx.pid; error_log {directory}/error.log; events {{}}"
        f"http {{ access_log off; {temporary} include {directory}/example.conf; }}"
    )
    command = [NGINX or "", "-p", str(directory), "-c", str(directory / "nginx.conf")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            until(lambda: _answers(port) or process.poll() is not None)
            yield port
        finally:
            process.terminate()
            _, said = process.communicate()
    assert "emerg" not in said


def test_tls_by_nginx(tmp_path: Path, keys: Keys) -> None:
    """Whole objects, parts of them, and what is not there; workers are replaced meanwhile."""
    certificate, _ = tls_files(keys.publisher, tmp_path)
    storage_at(tmp_path / "srv")
    with (
        supervised(tmp_path, "workers = 2\n[serve.limits]\ndrain_s = 0.5") as server,
        nginx(tmp_path, server.url, tmp_path / "server.key", certificate) as port,
    ):
        client = http.client.HTTPSConnection(
            "127.0.0.1", port, context=ssl.create_default_context(cafile=certificate), timeout=60
        )
        assert ask(client) == (200, CONTENT)
        assert ask(client, headers={"Range": "bytes=10-19"}) == (206, CONTENT[10:20])
        assert ask(client, OBJECT + "C")[0] == 404
        assert ask(client, "/robots.txt")[0] == 200
        assert ask(client, "/etc/passwd")[0] == 404
        before = server.workers()
        server.send(signal.SIGHUP)
        until(lambda: ask(client) == (200, CONTENT) and server.renewed(before))
        client.close()


def ask(
    client: http.client.HTTPSConnection, path: str = OBJECT, headers: dict[str, str] | None = None
) -> tuple[int, bytes]:
    """One request."""
    client.request("GET", path, headers=headers or {})
    response = client.getresponse()
    return response.status, response.read()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return False
    return True
