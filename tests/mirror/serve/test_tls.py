"""TLS without another program in front: the same answers, and files that are found to be wrong."""

from __future__ import annotations

import http.client
import signal
import ssl
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
)

from mirror.errors import ConfigError
from mirror.serve.tls import TlsFiles, tls_context
from tests.support.keys import Keys
from tests.support.servers import tls_files
from tests.support.supervised import CONTENT, OBJECT, ask_once, storage_at, supervised
from tests.support.tasks import until


@pytest.fixture
def files(tmp_path: Path, keys: Keys) -> TlsFiles:
    """A certificate and its key."""
    certificate, _ = tls_files(keys.publisher, tmp_path)
    return TlsFiles(certificate, tmp_path / "server.key")


def ask(url: str, certificate: Path) -> bytes:
    """One request by a client that trusts this certificate alone."""
    parts = urlsplit(url)
    context = ssl.create_default_context(cafile=certificate)
    assert parts.hostname
    connection = http.client.HTTPSConnection(
        parts.hostname, parts.port, context=context, timeout=60
    )
    try:
        connection.request("GET", OBJECT)
        return connection.getresponse().read()
    finally:
        connection.close()


def test_tls_beside_http(tmp_path: Path, files: TlsFiles, other_keys: Keys) -> None:
    """Both serve the same; a new certificate is taken over on SIGHUP."""
    storage_at(tmp_path / "srv")
    tls = (
        'workers = 1\n[serve.tls]\nlisten = ["127.0.0.1:0"]\n'
        f'certificate = "{files.certificate}"\nkey = "{files.key}"'
    )
    with supervised(tmp_path, tls, '"127.0.0.2:0"', 2) as server:
        plain, secure = server.urls
        assert secure.startswith("https://")
        assert (ask_once(plain), ask(secure, files.certificate)) == (CONTENT, CONTENT)
        tls_files(other_keys.publisher, tmp_path)
        with pytest.raises(ssl.SSLError):
            ask(secure, files.certificate)  # the new one is in that file, but not in use
        before = server.workers()
        server.send(signal.SIGHUP)
        until(lambda: server.renewed(before))
        assert ask(secure, files.certificate) == CONTENT


def test_old_versions_are_refused(files: TlsFiles) -> None:
    """Nothing older than TLS 1.2."""
    assert tls_context(files).minimum_version is ssl.TLSVersion.TLSv1_2


def test_files_that_do_not_belong_together(
    tmp_path: Path, files: TlsFiles, other_keys: Keys
) -> None:
    """A certificate with somebody else's key."""
    other = tmp_path / "other"
    other.mkdir()
    tls_files(other_keys.publisher, other)
    with pytest.raises(ConfigError, match="is not the key of"):
        tls_context(TlsFiles(files.certificate, other / "server.key"))


def test_files_that_cannot_be_used(tmp_path: Path, files: TlsFiles, keys: Keys) -> None:
    """Missing, with a password, or something else: each is named."""
    missing = tmp_path / "missing"
    with pytest.raises(ConfigError, match="missing: No such file") as caught:
        tls_context(TlsFiles(missing, missing))
    assert len(caught.value.problems) == 2
    with pytest.raises(ConfigError, match="both have to be PEM"):
        tls_context(TlsFiles(files.key, files.key))
    locked = keys.publisher.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
    )
    files.key.write_bytes(locked)
    with pytest.raises(ConfigError, match="wants a password"):
        tls_context(files)
