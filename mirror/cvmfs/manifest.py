"""The manifest ``.cvmfspublished``: which revision a repository is at (contract B.1)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from mirror.cvmfs.content_hash import ContentHash, Suffix
from mirror.cvmfs.fqrn import Fqrn
from mirror.cvmfs.letter import Letter, text_lines
from mirror.cvmfs.paths import MANIFEST
from mirror.errors import FormatError

ROOT_PATH_MD5: Final = "d41d8cd98f00b204e9800998ecf8427e"
"""MD5 of the empty string: field R of every manifest."""

_REQUIRED: Final = "CRDS"
_MAX_U64: Final = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Manifest:
    """A parsed manifest. Letters we do not know are tolerated: the raw bytes are republished.

    Attributes:
        raw: the file as it came, the only form in which it is ever stored.
        letter: the same, split; not verified here.
        root_catalog: field C.
        root_path_md5: field R.
        root_catalog_bytes: field B, unpacked size; None if the publisher did not say.
        ttl_s: field D.
        revision: field S, the client's notion of progress.
        fqrn: field N; None if absent.
        certificate: field X; None if absent, and then nothing can be verified.
        history: field H; None means no tags.
        meta_info: field M.
        published_at: field T as a Unix time; 0 is unknown.
        is_garbage_collectable: field G.
        has_alternative_paths: field A.
    """

    raw: bytes = field(repr=False)
    letter: Letter = field(repr=False)
    root_catalog: ContentHash
    root_path_md5: str
    root_catalog_bytes: int | None
    ttl_s: int
    revision: int
    fqrn: Fqrn | None
    certificate: ContentHash | None
    history: ContentHash | None
    meta_info: ContentHash | None
    published_at: int
    is_garbage_collectable: bool
    has_alternative_paths: bool

    @classmethod
    def parse(cls, raw: bytes) -> Manifest:
        """Read a manifest; a repeated letter counts as often as the reference counts it: last.

        Raises:
            FormatError: unsigned, or a known field is missing or malformed.
        """
        letter = Letter.parse(raw, MANIFEST)
        fields = {line[0]: line[1:] for line in text_lines(letter.text, MANIFEST) if line}
        missing = [key for key in _REQUIRED if key not in fields]
        if missing:
            raise FormatError(f"{MANIFEST} lacks the required field {', '.join(missing)}")
        return cls(
            raw=raw,
            letter=letter,
            root_catalog=_hash(fields, "C", Suffix.CATALOG),
            root_path_md5=fields["R"],
            root_catalog_bytes=_number(fields, "B") if "B" in fields else None,
            ttl_s=_number(fields, "D"),
            revision=_number(fields, "S"),
            fqrn=_name(fields["N"]) if "N" in fields else None,
            certificate=_optional_hash(fields, "X", Suffix.CERTIFICATE),
            history=_optional_hash(fields, "H", Suffix.HISTORY),
            meta_info=_optional_hash(fields, "M", Suffix.META_INFO),
            published_at=_number(fields, "T") if "T" in fields else 0,
            is_garbage_collectable=fields.get("G") == "yes",
            has_alternative_paths=fields.get("A") == "yes",
        )

    @property
    def named_objects(self) -> tuple[ContentHash, ...]:
        """What the manifest names directly: root catalog, history, certificate, meta info."""
        named = (self.root_catalog, self.history, self.certificate, self.meta_info)
        return tuple(content_hash for content_hash in named if content_hash is not None)

    @property
    def published_text(self) -> str:
        """Field T for people."""
        if not self.published_at:
            return "at an unknown time"
        return datetime.fromtimestamp(self.published_at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _number(fields: dict[str, str], key: str) -> int:
    value = fields[key]
    if not (value.isascii() and value.isdigit()) or len(value) > 20 or int(value) > _MAX_U64:
        raise FormatError(f"{MANIFEST} field {key}: {value[:40]!r} is no number of 64 bits")
    number = int(value)
    if key == "T" and number > _MAX_TIME:
        raise FormatError(f"{MANIFEST} field T: {number} lies after the year 9999")
    return number


_MAX_TIME: Final = 253_402_300_799
"""The last second of the year 9999, beyond which no calendar here reaches."""


def _name(value: str) -> Fqrn:
    try:
        return Fqrn(value)
    except FormatError as error:
        raise FormatError(f"{MANIFEST} field N: {error}") from error


def _hash(fields: dict[str, str], key: str, suffix: Suffix) -> ContentHash:
    try:
        return ContentHash.parse(fields[key], suffix)
    except FormatError as error:
        raise FormatError(f"{MANIFEST} field {key}: {error}") from error


def _optional_hash(fields: dict[str, str], key: str, suffix: Suffix) -> ContentHash | None:
    return _hash(fields, key, suffix) if key in fields else None
