"""All that makes a replica of ``cvmfs_server``'s one of ours; decided here, done by the caller."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from mirror.errors import ConfigError, printable
from mirror.handover.hosted import Hosted, Skipped
from mirror.handover.key_files import common_place, files_of, keys_of
from mirror.handover.links import Link, link_between
from mirror.handover.small_files import Unreadable
from mirror.trust.master_keys import MasterKeys


@dataclass(frozen=True, slots=True)
class Places:
    """Where our things are, or will be.

    Attributes:
        storage: of the trees.
        spool: of locks and checksums.
        keys: where keys are looked for that a repository does not name.
        own_keys: where directories of links to keys are made.
    """

    storage: Path
    spool: Path
    keys: Path
    own_keys: Path


@dataclass(frozen=True, slots=True)
class Adoption:
    """What it takes.

    Attributes:
        hosted: as cvmfs_server has it.
        table: the ``[[replica]]`` of the configuration.
        links: still to be made.
        notes: what the operator has to know.
    """

    hosted: Hosted
    table: dict[str, object]
    links: tuple[Link, ...]
    notes: tuple[str, ...]


def adopt(hosted: Hosted, places: Places) -> Adoption | Skipped:
    """Decide; reads keys, and looks at directories."""
    try:
        keys, key_links = (None, ()) if hosted.is_pass_through else _keys(hosted, places)
        wanted = () if hosted.is_pass_through else _links(hosted, places)
    except (Unreadable, ConfigError) as error:
        return Skipped(hosted.alias, "; ".join(str(error).splitlines()))
    return Adoption(hosted, _table(hosted, keys), (*key_links, *wanted), tuple(_notes(hosted)))


def _table(hosted: Hosted, keys: Path | None) -> dict[str, object]:
    table: dict[str, object] = {"name": hosted.fqrn.name, "stratum0": hosted.stratum0}
    if keys is None:
        table["pass_through"] = True
    else:
        table["keys"] = str(keys)
    for key, setting in (("CVMFS_SERVER_PROXY", "proxy"), ("X509_CERT_BUNDLE", "ca_bundle")):
        if value := hosted.text(key):
            table[setting] = _proxy(value) if setting == "proxy" else value
    return table


def _proxy(value: str) -> str:
    """As curl reads it: without a scheme it is http."""
    return value if "://" in value else f"http://{value}"


def _keys(hosted: Hosted, places: Places) -> tuple[Path, tuple[Link, ...]]:
    """Where its keys are, and links that collect them in one place where they are in several."""
    named = hosted.keys or tuple(filter(None, [keys_of(hosted.fqrn, places.keys)]))
    if not named:
        raise Unreadable(
            f"no key: CVMFS_PUBLIC_KEY is empty, and none fits the name in {places.keys}"
        )
    files = files_of(named)
    for each in files:
        MasterKeys.load(each)
    place = common_place(named)
    if place is not None:
        MasterKeys.load(place)
        return place, ()
    place = places.own_keys / hosted.fqrn.name
    links = (link_between(place / _name(files, each), each) for each in files)
    return place, tuple(each for each in links if each is not None)


def _name(files: list[Path], file: Path) -> str:
    """Of a link to a key: the file's, with a number where others have the same."""
    same = [each for each in files if each.name == file.name]
    number = f"{same.index(file) + 1}-" if len(same) > 1 else ""
    return f"{number}{file.stem}.pub"


def _links(hosted: Hosted, places: Places) -> tuple[Link, ...]:
    name = hosted.fqrn.name
    pairs = ((places.storage / name, hosted.tree), (places.spool / name, hosted.spool))
    links = (link_between(ours, theirs) for ours, theirs in pairs)
    return tuple(each for each in links if each is not None)


_AS_IT_IS: Final = "10", "3"


def _notes(hosted: Hosted) -> Iterator[str]:
    if hosted.alias != hosted.fqrn.name:
        yield f"alias of {hosted.fqrn}: clients find it under both names"
    if group := hosted.text("CVMFS_SNAPSHOT_GROUP"):
        yield (
            f"snapshot group {printable(group)}: there are no groups here; cvmfs-mirror run looks "
            "at each repository in its own rhythm, and cvmfs-mirror snapshot takes names"
        )
    if urlsplit(hosted.stratum0).username:
        yield "its Stratum 0 has a password in the URL: let only its owner read the configuration"
    if hosted.text("CVMFS_AUTO_GC") == "true":
        yield "CVMFS_AUTO_GC=true: cvmfs_server gc can go on, under the lock that we hold too"
    said = hosted.text("CVMFS_HTTP_TIMEOUT") or "10", hosted.text("CVMFS_HTTP_RETRIES") or "3"
    if said != _AS_IT_IS:
        yield (
            f"CVMFS_HTTP_TIMEOUT={printable(said[0])}, CVMFS_HTTP_RETRIES={printable(said[1])}: "
            "[fetch] timeout_s and retries are the same for all repositories"
        )
    if hosted.text("CVMFS_FOLLOW_REDIRECTS") == "yes":
        yield "CVMFS_FOLLOW_REDIRECTS=yes: [fetch] follow_redirects is the same for all"
    for each in hosted.values.ignored:
        yield f"left out: {printable(each)}"
