"""A certificate and its key, for serving without another program in front."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from mirror.errors import ConfigError


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Two files in PEM.

    Attributes:
        certificate: of the server, followed by those that lead to its authority.
        key: of the first of these, without a password.
    """

    certificate: Path
    key: Path


def tls_context(files: TlsFiles) -> ssl.SSLContext:
    """What a listening socket needs to speak TLS 1.2 or newer.

    Raises:
        ConfigError: a file cannot be read, holds something else, or they do not belong together.
    """
    _require_readable(files)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(files.certificate, files.key, password=_no_password)
    except (ssl.SSLError, ValueError) as error:
        raise ConfigError([f"serve.tls: {_what_is_wrong(files, error)}"]) from error
    return context


def _require_readable(files: TlsFiles) -> None:
    problems = []
    for path in (files.certificate, files.key):
        try:
            with path.open("rb") as file:
                file.read(1)
        except OSError as error:
            problems.append(f"serve.tls: {path}: {error.strerror}; it has to be readable for us")
    if problems:
        raise ConfigError(problems)


def _no_password() -> NoReturn:
    raise ValueError("the key wants a password")


def _what_is_wrong(files: TlsFiles, error: ssl.SSLError | ValueError) -> str:
    if not isinstance(error, ssl.SSLError):
        return f"{files.key}: {error}; nobody is there to type one, so store it without"
    if error.reason == "KEY_VALUES_MISMATCH":
        return f"{files.key} is not the key of {files.certificate}; the first there is the server's"
    return f"{files.certificate} and {files.key}: {error.reason or error}; both have to be PEM"
