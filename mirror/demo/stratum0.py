"""Two kinds of Stratum 0 for the demo; each publishes a revision, and then its next one.

RecordedStratum0     the archive beside this file: what the real cvmfs_server published
OwnContentStratum0   a newcomer's directory, published here and now by `mirror.stratum0`
"""

from __future__ import annotations

import tarfile
from importlib.resources import as_file, files
from pathlib import Path
from typing import Final, Protocol

from mirror.cvmfs.fqrn import Fqrn
from mirror.stratum0.keys import PublisherKeys
from mirror.stratum0.publishing import Publication, PublicationOptions
from mirror.stratum0.repository import Stratum0Repository
from mirror.stratum0.source import DirectorySource

_RECORDED: Final = Fqrn("software.example.org")
_OWN: Final = Fqrn("demo.example.org")
_FIRST_TREE: Final = 5
_NEXT_TREE: Final = 6
_ARCHIVE: Final = "software.example.org.tar.xz"


class DemoStratum0(Protocol):
    """A repository that has a first revision and a next one; all methods block.

    Attributes:
        fqrn: its name.
        storage: what a web server has to serve.
        key: the public master key.
        origin: where the content comes from, in words.
    """

    fqrn: Fqrn
    storage: Path
    key: Path
    origin: str

    def publish_first(self) -> None:
        """Put the first revision before the world."""

    def publish_next(self) -> None:
        """And the one after."""


class RecordedStratum0:
    """The archive's trees below one directory; a link tells which of them is published."""

    fqrn = _RECORDED
    origin = "made by the real cvmfs_server"

    def __init__(self, directory: Path) -> None:
        """Unpack into ``directory``."""
        with as_file(files(__package__) / _ARCHIVE) as archive, tarfile.open(archive) as tar:
            # Part of this package, so there is nothing to guard against; Pythons that know of
            # filters want one named, and 3.11.2 (Debian 12) does not know of them.
            options = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
            tar.extractall(directory, **options)  # type: ignore[arg-type]  # noqa: S202
        self._revisions = directory / self.fqrn.name
        self.key = self._revisions / "keys" / f"{self.fqrn.name}.pub"
        self.storage = directory / "stratum0"
        self.storage.mkdir()

    def publish_first(self) -> None:
        """As `DemoStratum0.publish_first`."""
        self._publish(_FIRST_TREE)

    def publish_next(self) -> None:
        """As `DemoStratum0.publish_next`."""
        self._publish(_NEXT_TREE)

    def _publish(self, tree: int) -> None:
        link = self.storage / self.fqrn.name
        temporary = link.with_suffix(".new")
        temporary.symlink_to(self._revisions / f"rev{tree}")
        temporary.replace(link)


class OwnContentStratum0:
    """A directory of the user's, published as it is, and then again with one file more."""

    fqrn = _OWN

    def __init__(self, directory: Path, content: Path) -> None:
        """Publish ``content``; keys and repository go below ``directory``."""
        self.storage = directory / "stratum0"
        self.origin = f"made from {content}"
        keys = directory / "keys"
        self.key = keys / f"{self.fqrn}.pub"
        self._keys = PublisherKeys.load_or_make(keys, self.fqrn)
        self._content = content
        self._more = directory / "more"
        self._more.mkdir()
        (self._more / "HELLO-FROM-THE-DEMO").write_text("This file came with the next revision.\n")

    def publish_first(self) -> None:
        """As `DemoStratum0.publish_first`."""
        self._publish(self._content, PublicationOptions(tag="first"))

    def publish_next(self) -> None:
        """As `DemoStratum0.publish_next`."""
        self._publish(self._more, PublicationOptions(tag="next", overlays=True))

    def _publish(self, content: Path, options: PublicationOptions) -> None:
        repository = Stratum0Repository(self.storage, self.fqrn)
        with repository.locked():
            Publication(repository, self._keys, options).run(DirectorySource(content))
