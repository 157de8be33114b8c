"""Which path names what, and with which headers it is answered (contract B.10).

    path                        content type                freshness
    --------------------------  --------------------------  ---------------------------
    /cvmfs/<fqrn>/.cvmfs*       application/x-cvmfs         max-age=61
    …/*.json                    application/json            max-age=61
    /cvmfs/<fqrn>/data/xx/…     application/octet-stream    max-age=259200, immutable
    anything else               404                         no-store

No ETag and no Last-Modified: caches in the field are known to mix them up, and objects need none.
A 404 must not be remembered: the object may be here in a second.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Final

from mirror.cvmfs.content_hash import ContentHash, Suffix
from mirror.cvmfs.fqrn import Fqrn
from mirror.cvmfs.paths import (
    MANIFEST,
    WHITELIST,
    WHITELIST_PKCS7,
    is_immutable,
    is_root_file,
    object_path,
)
from mirror.errors import FormatError

_PREFIX: Final = "/cvmfs/"
_INFO: Final = frozenset({"repositories.json", "meta.json"})
_ALTERNATIVE: Final = ".cvmfsalt-"
_MINUTE: Final = "public, max-age=61"
_FOR_EVER: Final = "public, max-age=259200, immutable"
NOT_FOUND_HEADERS: Final = {"Cache-Control": "no-store"}


class Kind(StrEnum):
    """What is asked for, as metrics and logs tell it apart (contract E.2)."""

    MANIFEST = "manifest"
    WHITELIST = "whitelist"
    CATALOG = "catalog"
    OBJECT = "object"
    GEO = "geo"
    INFO = "info"
    OTHER = "other"


_ROOT_KINDS: Final = {
    MANIFEST: Kind.MANIFEST,
    WHITELIST: Kind.WHITELIST,
    WHITELIST_PKCS7: Kind.WHITELIST,
}


@dataclass(frozen=True, slots=True)
class Resource:
    """A file that may be served.

    Attributes:
        path: below the storage directory.
        content_type: for the answer.
        cache_control: likewise.
        kind: for metrics.
        origin: the server that a client of a forward proxy names, ``http://host:port``.
    """

    path: str
    content_type: str
    cache_control: str
    kind: Kind
    origin: str = ""

    @property
    def is_immutable(self) -> bool:
        """Whether it can never change, so that it may be kept and served without another look."""
        return self.cache_control == _FOR_EVER

    def headers(self, size_bytes: int) -> tuple[tuple[str, str], ...]:
        """What goes with its bytes, in the order in which it goes out."""
        return (
            *_headers(self.content_type, self.cache_control),
            ("Content-Length", str(size_bytes)),
        )

    def head(self, size_bytes: int) -> bytes:
        """The same as bytes, with the blank line behind them."""
        return b"%sContent-Length: %d\r\n\r\n" % (
            _head(self.content_type, self.cache_control),
            size_bytes,
        )


def resource(path: str) -> Resource | None:
    """What a request's path (decoded once, without query) names; None for nothing of ours.

    Only whole, well-formed names pass, so no path can lead out of the storage directory, to
    temporaries, or to a listing.
    """
    if not path.startswith(_PREFIX):
        return None
    name, _, inside = path.removeprefix(_PREFIX).partition("/")
    if name == "info":
        return _info(inside)
    try:
        fqrn = Fqrn(name)
        if inside.startswith(_ALTERNATIVE):
            inside = object_path(_alternative(inside))
    except FormatError:
        return None
    if is_immutable(inside):
        is_catalog = inside.endswith(Suffix.CATALOG.value)
        return object_resource(f"{fqrn.name}/{inside}", is_catalog=is_catalog)
    if is_root_file(inside):
        is_json = inside.endswith(".json")
        content_type = "application/json" if is_json else "application/x-cvmfs"
        kind = _ROOT_KINDS.get(inside, Kind.INFO if is_json else Kind.OTHER)
        return Resource(f"{fqrn.name}/{inside}", content_type, _MINUTE, kind)
    return None


def object_resource(path: str, origin: str = "", *, is_catalog: bool) -> Resource:
    """The object at a path that is known to be an object's, ``<fqrn>/data/…``."""
    kind = Kind.CATALOG if is_catalog else Kind.OBJECT
    return Resource(path, "application/octet-stream", _FOR_EVER, kind, origin)


def _headers(content_type: str, cache_control: str) -> tuple[tuple[str, str], ...]:
    return (
        ("Content-Type", content_type),
        ("Cache-Control", cache_control),
        ("Accept-Ranges", "bytes"),
    )


@cache
def _head(content_type: str, cache_control: str) -> bytes:
    pairs = _headers(content_type, cache_control)
    return "".join(f"{name}: {value}\r\n" for name, value in pairs).encode("ascii")


def _info(inside: str) -> Resource | None:
    version, _, name = inside.partition("/")
    if version != "v1" or name not in _INFO:
        return None
    return Resource(f"info/v1/{name}", "application/json", _MINUTE, Kind.INFO)


def _alternative(name: str) -> ContentHash:
    """The object behind an alternative path; looked up by its hash, so no link is followed."""
    text = name.removeprefix(_ALTERNATIVE)
    suffix = Suffix(text[-1:]) if text[-1:] in set("CHMX") else Suffix.NONE
    return ContentHash.parse(text.removesuffix(suffix.value), suffix)
