r"""Where nested catalogs begin: markers, ``.cvmfsdirtab``, size. Pure decisions.

A directory becomes the mount point of a nested catalog if it holds a file ``.cvmfscatalog``, if a
line of ``/.cvmfsdirtab`` names it, or if what is above it would be too large a catalog otherwise.

``.cvmfsdirtab`` holds a pattern a line. ``*`` and ``?`` stay within one component, ``\`` escapes,
``#`` begins a comment line; a line that begins with ``!`` takes directories out again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from mirror.stratum0.entry import ROOT, parent_of

DEFAULT_LARGEST: Final = 200_000
"""Entries of one catalog: the reference warns its publishers at this size."""
_SMALLEST_SHARE: Final = 200
"""A subtree below one part in so many of the limit is not worth a catalog of its own."""


@dataclass(frozen=True, slots=True)
class Dirtab:
    """The patterns of ``.cvmfsdirtab``.

    Attributes:
        wanted: a directory that one of them fits is a mount point,
        unwanted: unless one of these fits too.
    """

    wanted: tuple[re.Pattern[bytes], ...] = ()
    unwanted: tuple[re.Pattern[bytes], ...] = ()

    @classmethod
    def parse(cls, content: bytes) -> Dirtab:
        """Read the file."""
        wanted, unwanted = [], []
        for line in content.splitlines():
            pattern = line.strip()
            if not pattern or pattern.startswith(b"#"):
                continue
            if pattern.startswith(b"!"):
                unwanted.append(_pattern(pattern[1:].strip()))
            else:
                wanted.append(_pattern(pattern))
        return cls(tuple(wanted), tuple(unwanted))

    def names(self, directory: bytes) -> bool:
        """Whether a directory is to be a mount point."""
        return any(each.fullmatch(directory) for each in self.wanted) and not any(
            each.fullmatch(directory) for each in self.unwanted
        )


def _pattern(text: bytes) -> re.Pattern[bytes]:
    """A shell pattern as a regular expression that does not cross slashes."""
    text = b"/" + text.strip(b"/")
    expression, position = b"", 0
    while position < len(text):
        byte = text[position : position + 1]
        if byte == b"\\" and position + 1 < len(text):
            position += 1
            expression += re.escape(text[position : position + 1])
        elif byte == b"*":
            expression += b"[^/]*"
        elif byte == b"?":
            expression += b"[^/]"
        else:
            expression += re.escape(byte)
        position += 1
    return re.compile(expression, re.DOTALL)


def split_by_size(
    directories: Mapping[bytes, int], fixed: Iterable[bytes], largest: int = DEFAULT_LARGEST
) -> set[bytes]:
    """Further mount points, so that no catalog gets larger than it must.

    From the leaves up: where the entries of a subtree that are not in a nested catalog yet exceed
    ``largest``, the heaviest directories below become mount points until the rest fits.

    Args:
        directories: each with the number of entries directly in it; parents included.
        fixed: mount points that are there already.
        largest: entries of one catalog.
    """
    mounts = {ROOT, *fixed}
    children: dict[bytes, list[bytes]] = {}
    for directory in directories:
        if directory != ROOT:
            children.setdefault(parent_of(directory), []).append(directory)
    added: set[bytes] = set()
    weight: dict[bytes, int] = {}
    for directory in _deepest_first(directories):
        below = [each for each in children.get(directory, ()) if each not in mounts]
        own = directories[directory] + sum(weight[each] for each in below)
        if own > largest:
            for each in sorted(below, key=lambda path: (-weight[path], path)):
                if own <= largest or weight[each] * _SMALLEST_SHARE < largest:
                    break
                mounts.add(each)
                added.add(each)
                own -= weight[each]
        weight[directory] = own
    return added


def _deepest_first(directories: Iterable[bytes]) -> Iterator[bytes]:
    yield from sorted(directories, key=lambda path: path.count(b"/"), reverse=True)


def owner(path: bytes, mounts: set[bytes] | frozenset[bytes]) -> bytes:
    """The mount point of the catalog that holds the entries of a directory."""
    while path not in mounts and path != ROOT:
        path = parent_of(path)
    return path
