"""Options that the verbs of a Stratum 0 share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from mirror.cvmfs.fqrn import Fqrn
from mirror.cvmfs.manifest import Manifest
from mirror.errors import ConfigError, FormatError
from mirror.stratum0.keys import PublisherKeys
from mirror.stratum0.repository import Stratum0Repository

F = TypeVar("F", bound=Callable[..., Any])

_SYSTEM_KEYS: Final = Path("/etc/cvmfs/keys")


class FqrnType(click.ParamType[Fqrn]):
    """A fully qualified repository name."""

    name = "fqrn"

    def convert(
        self, value: str | Fqrn, parameter: click.Parameter | None, context: click.Context | None
    ) -> Fqrn:
        """Read it."""
        try:
            return value if isinstance(value, Fqrn) else Fqrn(value)
        except FormatError as error:
            self.fail(str(error), parameter, context)


def repository_options(function: F) -> F:
    """``--name FQRN --into STORAGE``."""
    function = click.option(
        "--into",
        required=True,
        type=click.Path(file_okay=False, path_type=Path),
        metavar="STORAGE",
        help="Directory of repositories; this one lies in STORAGE/FQRN, for a web server to serve "
        "as /cvmfs/FQRN.",
    )(function)
    return click.option(
        "--name", required=True, type=FqrnType(), help="Fully qualified repository name."
    )(function)


def keys_option(function: F) -> F:
    """``--keys DIR``."""
    return click.option(
        "--keys",
        "key_directory",
        type=click.Path(file_okay=False, path_type=Path),
        default=default_keys,
        help="Directory of the publisher's keys, made on first use; keep it away from web servers."
        "  [default: /etc/cvmfs/keys as root, else ~/.config/cvmfs-mirror/keys]",
    )(function)


def default_keys() -> Path:
    """Where keys are if nobody says."""
    if os.geteuid() == 0:
        return _SYSTEM_KEYS
    return Path.home() / ".config" / "cvmfs-mirror" / "keys"


def open_published(into: Path, name: Fqrn) -> tuple[Stratum0Repository, Manifest]:
    """A repository that has been published before.

    Raises:
        ConfigError: there is none.
    """
    repository = Stratum0Repository(into, name)
    manifest = repository.manifest()
    if manifest is None:
        raise ConfigError([f"{into / name.name}: no repository there; publish it first"])
    return repository, manifest


def load_keys(directory: Path, name: Fqrn) -> PublisherKeys:
    """Keys that must be there already.

    Raises:
        ConfigError: they are not.
    """
    if not (directory / f"{name}.masterkey").exists():
        raise ConfigError([f"{directory}: no keys of {name} there; name the right --keys"])
    return PublisherKeys.load_or_make(directory, name)
