"""The operator's configuration file, edited: their comments, order and blank lines stay."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path

import tomlkit
from tomlkit import TOMLDocument
from tomlkit.items import AoT

from mirror.config import DEFAULT_STORAGE, Settings, parse_settings
from mirror.errors import ConfigError


class ConfigFile:
    """What the file says, and will say once it is written."""

    def __init__(self, path: Path, storage: Path | None = None, spool: Path | None = None) -> None:
        """Read it.

        Args:
            path: where it is; it may be new.
            storage: where replicas lie, if it is new.
            spool: where locks and checksums lie, if it is new and they are at another place than
                usual.

        Raises:
            ConfigError: it cannot be read.
        """
        self.path = path
        known = _read(path)
        self.is_new = known is None
        self._document = _begun(storage, spool) if known is None else known

    @property
    def text(self) -> str:
        """As it is now."""
        return tomlkit.dumps(self._document)

    @property
    def settings(self) -> Settings:
        """What that means.

        Raises:
            ConfigError: something is wrong.
        """
        return parse_settings(self.text, str(self.path))

    def add_replica(self, described: Mapping[str, object]) -> None:
        """One more ``[[replica]]``.

        Raises:
            ConfigError: replicas are written in another way.
        """
        table = tomlkit.table()
        table.update(described)
        self._replicas().append(table)

    def remove_replicas(self, names: Collection[str]) -> None:
        """Take these out, with their comments.

        Raises:
            ConfigError: replicas are written in another way.
        """
        replicas = self._replicas()
        for number in range(len(replicas) - 1, -1, -1):
            if replicas[number].get("name") in names:
                del replicas[number]

    def write(self) -> None:
        """Replace the file in one step, so that nobody reads half of it.

        Raises:
            ConfigError: it cannot be written.
        """
        path = self.path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_name(f".{path.name}.{os.getpid()}")
            temporary.write_text(self.text, "utf-8")
            if path.exists():
                temporary.chmod(path.stat().st_mode)
            temporary.replace(path)
        except OSError as error:
            raise ConfigError([f"{error.filename or path}: {error.strerror}"]) from error

    def _replicas(self) -> AoT:
        replicas = self._document.setdefault("replica", tomlkit.aot())
        if not isinstance(replicas, AoT):
            raise ConfigError([f"{self.path}: replica: write each as a [[replica]] table"])
        return replicas


def replica_text(described: Mapping[str, object]) -> str:
    """One ``[[replica]]`` as it stands in the file."""
    document = tomlkit.document()
    replicas = tomlkit.aot()
    table = tomlkit.table()
    table.update(described)
    replicas.append(table)
    document["replica"] = replicas
    return tomlkit.dumps(document)


def _begun(storage: Path | None, spool: Path | None) -> TOMLDocument:
    document = tomlkit.document()
    places = {"path": str((storage or DEFAULT_STORAGE).absolute())}
    if spool is not None:
        places["spool"] = str(spool)
    document["storage"] = places
    return document


def _read(path: Path) -> TOMLDocument | None:
    try:
        return tomlkit.parse(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror}"]) from error
    except (UnicodeDecodeError, tomlkit.exceptions.TOMLKitError) as error:
        raise ConfigError([f"{path}: not TOML: {error}"]) from error
