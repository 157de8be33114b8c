"""A repository that our own publisher keeps, with short words for what tests do to it."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path

from mirror.cvmfs.fqrn import Fqrn
from mirror.cvmfs.manifest import Manifest
from mirror.stratum0.entry import Attributes
from mirror.stratum0.keys import PublisherKeys
from mirror.stratum0.publishing import Publication, PublicationOptions, PublicationReport
from mirror.stratum0.repository import Stratum0Repository
from mirror.stratum0.source import DirectorySource, Source, SourceEntry
from tests.support.keys import Keys

FQRN = "test.example.org"


def publisher_keys(keys: Keys) -> PublisherKeys:
    """The session's keys, for our publisher."""
    return PublisherKeys(keys.master, keys.publisher, keys.certificate)


@dataclass(frozen=True, slots=True)
class TreeSource:
    """Path → content; None for a directory. Parents that are not mentioned are made up."""

    tree: Mapping[bytes, bytes | None]

    def entries(self) -> Iterator[SourceEntry]:
        """As `Source.entries`."""
        paths: dict[bytes, bytes | None] = {b"": None}
        for path, content in self.tree.items():
            parts = path.split(b"/")
            for length in range(2, len(parts)):
                paths.setdefault(b"/".join(parts[:length]), None)
            paths[path] = content
        for path, content in sorted(paths.items()):
            yield file_entry(path, content)


def file_entry(path: bytes, content: bytes | None) -> SourceEntry:
    """A file, or without content a directory; of mtime 1."""
    if content is None:
        return SourceEntry(path, Attributes(stat.S_IFDIR | 0o755, mtime=1, mtime_ns=0))
    return SourceEntry(
        path,
        Attributes(stat.S_IFREG | 0o644, mtime=1, mtime_ns=0),
        len(content),
        content=partial(BytesIO, content),
    )


def streamed_entry(path: bytes, content: bytes) -> SourceEntry:
    """A file whose content comes by itself."""
    attributes = Attributes(stat.S_IFREG | 0o644)
    return SourceEntry(path, attributes, len(content), stream=BytesIO(content))


class Origin:
    """A repository below a directory.

    Attributes:
        storage: the directory of repositories.
        root: the repository's tree.
        keys: sign it.
        master: file of the public master key.
    """

    def __init__(self, directory: Path, keys: Keys, fqrn: str = FQRN) -> None:
        self.fqrn = fqrn
        self.storage = directory / "stratum0"
        self.root = self.storage / fqrn
        self.keys = publisher_keys(keys)
        self.master = directory / f"{fqrn}.pub"
        self.master.write_bytes(keys.master_pem)
        self.repository = Stratum0Repository(self.storage, Fqrn(fqrn))

    def publish(
        self,
        source: Source | Path | Mapping[bytes, bytes | None],
        options: PublicationOptions | None = None,
    ) -> PublicationReport:
        """Publish a source, a directory, or a mapping."""
        if isinstance(source, Path):
            source = DirectorySource(source)
        elif isinstance(source, Mapping):
            source = TreeSource(source)
        with self.repository.locked():
            publication = Publication(self.repository, self.keys, options or PublicationOptions())
            return publication.run(source)

    @property
    def manifest(self) -> Manifest:
        """What is published."""
        manifest = self.repository.manifest()
        assert manifest is not None
        return manifest

    def objects(self) -> set[str]:
        """Every object on the disk, as a path below the root."""
        found = (self.root / "data").glob("[0-9a-f][0-9a-f]/*")
        return {str(path.relative_to(self.root)) for path in found}

    def temporaries(self) -> list[str]:
        """What lies in ``data/txn``."""
        return sorted(path.name for path in (self.root / "data" / "txn").iterdir())
