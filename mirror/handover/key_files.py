"""Which master keys belong to a name: by the file system's conventions, not by trust.

<keys>/software.example.org.pub     for this repository
<keys>/software.example.org/*.pub   likewise
<keys>/example.org/*.pub            for its domain
<keys>/example.org.pub              likewise
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from mirror.cvmfs.fqrn import Fqrn


def keys_of(fqrn: Fqrn, directory: Path) -> Path | None:
    """The file or directory of keys that fits the name best; None for none."""
    return next((each for each in _candidates(fqrn, directory) if _has_keys(each)), None)


def files_of(places: Iterable[Path]) -> list[Path]:
    """The key files of several places, files or directories; each once."""
    found: dict[Path, None] = {}
    for place in places:
        found.update(dict.fromkeys(sorted(place.glob("*.pub")) if place.is_dir() else [place]))
    return list(found)


def common_place(places: tuple[Path, ...]) -> Path | None:
    """One file or directory that has just these keys; None where there is none yet."""
    if len(places) == 1:
        return places[0]
    files = files_of(places)
    directories = {each.parent for each in files}
    if len(directories) != 1:
        return None
    (directory,) = directories
    return directory if files_of((directory,)) == sorted(files) else None


def _candidates(fqrn: Fqrn, directory: Path) -> Iterator[Path]:
    yield directory / f"{fqrn.name}.pub"
    labels = fqrn.name.split(".")
    for first in range(len(labels)):
        domain = ".".join(labels[first:])
        yield directory / domain
        yield directory / f"{domain}.pub"


def _has_keys(place: Path) -> bool:
    return place.is_file() or (place.is_dir() and any(place.glob("*.pub")))
