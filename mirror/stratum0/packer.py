"""Contents → staged objects: the part of packing that costs, done in whichever process there is.

It has no state but a memory of what it staged, and can be sent to other processes. What it takes
and what it gives are small: a way to open a file instead of the file, names instead of paths.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import IO, Final, NamedTuple

from mirror.cvmfs.content_hash import Algorithm, ContentHash, Suffix
from mirror.errors import ConfigError
from mirror.store.staging import Staged, Staging
from mirror.stratum0.chunking import ChunkSizes, chunks


class Cut(NamedTuple):
    """What was read already, and is one object.

    Attributes:
        data: all of it.
        suffix: whether it is a whole content or a piece of one.
    """

    data: bytes
    suffix: Suffix


Content = Callable[[], IO[bytes]] | Cut
"""What opens a file, or what was in it."""

_REMEMBERED: Final = 20_000
"""Names; should an object be forgotten, it is staged again, and `Packing` discards one of them."""


@dataclass(frozen=True, slots=True)
class PackingOptions:
    """How contents become objects.

    Attributes:
        algorithm: names them.
        is_packed: compress file contents; catalogs and their like always are.
        sizes: of chunks.
    """

    algorithm: Algorithm = Algorithm.SHA1
    is_packed: bool = True
    sizes: ChunkSizes = field(default_factory=ChunkSizes)


class Part(NamedTuple):
    """A content, or a piece of it, as an object.

    Attributes:
        size_bytes: unpacked.
        digest: names the object.
        staged: where it waits; None if it is in the store, or was told of before.
    """

    size_bytes: int
    digest: bytes
    staged: Staged | None


@dataclass(frozen=True, slots=True)
class Packer:
    """Stages contents.

    Attributes:
        staging: where.
        options: how.
    """

    staging: Staging
    options: PackingOptions
    _told: set[ContentHash] = field(default_factory=set)

    def pack(self, contents: Sequence[Content]) -> list[list[Part]]:
        """Each content's parts, in order; blocks.

        Raises:
            ConfigError: one cannot be read.
            StoreFull, StoreUnavailable: one cannot be kept.
        """
        return [self._parts(content) for content in contents]

    def stage(self, content: bytes, suffix: Suffix, *, is_packed: bool) -> Part:
        """Compress, hash and write one object; blocks.

        Raises:
            StoreFull, StoreUnavailable: it cannot be kept.
        """
        stored = zlib.compress(content) if is_packed else content
        name = ContentHash.of(self.options.algorithm, stored, suffix)
        if name in self._told:
            return Part(len(content), name.digest, None)
        staged = self.staging.stage(name, stored)
        if len(self._told) >= _REMEMBERED:
            self._told.clear()
        self._told.add(name)
        return Part(len(content), name.digest, staged)

    def _parts(self, content: Content) -> list[Part]:
        if isinstance(content, Cut):
            return [self._part(content.data, content.suffix)]
        try:
            with content() as file:
                pieces = chunks(file, self.options.sizes)
                first = next(pieces)
                second = next(pieces, None)
                if second is None:
                    return [self._part(first, Suffix.NONE)]
                return [
                    self._part(piece, Suffix.PARTIAL) for piece in chain((first, second), pieces)
                ]
        except OSError as error:
            raise ConfigError([f"{error.filename!r}: {error.strerror}"]) from error

    def _part(self, content: bytes, suffix: Suffix) -> Part:
        return self.stage(content, suffix, is_packed=self.options.is_packed)
