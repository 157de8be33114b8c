"""The whitelist ``.cvmfswhitelist``: whose certificates may sign (contract B.4)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from mirror.cvmfs.certificate import Fingerprint
from mirror.cvmfs.fqrn import Fqrn
from mirror.cvmfs.letter import Letter, text_lines
from mirror.cvmfs.paths import WHITELIST
from mirror.errors import FormatError

_TIME: Final = re.compile(r"[0-9]{14}", re.ASCII)
_FIXED_LINES: Final = 3


@dataclass(frozen=True, slots=True)
class Whitelist:
    """A parsed whitelist; not verified here.

    Attributes:
        raw: the file as it came.
        letter: the same, split.
        expires_at: line 2, UTC, cut to the hour: that is how it is compared.
        fqrn: line 3.
        fingerprints: the certificates that may sign.
        uses_pkcs7: whether a ``.cvmfswhitelist.pkcs7`` belongs to it.
        demands_ca_chain: whether certificates must also chain to a certificate authority.
    """

    raw: bytes = field(repr=False)
    letter: Letter = field(repr=False)
    expires_at: datetime
    fqrn: Fqrn
    fingerprints: frozenset[Fingerprint]
    uses_pkcs7: bool
    demands_ca_chain: bool

    @classmethod
    def parse(cls, raw: bytes) -> Whitelist:
        """Read a whitelist.

        Raises:
            FormatError: unsigned, a date that is none, or no name.
        """
        letter = Letter.parse(raw, WHITELIST)
        lines = text_lines(letter.text, WHITELIST)
        if len(lines) < _FIXED_LINES:
            raise FormatError(f"{WHITELIST} has {len(lines)} lines; date, expiry and name are due")
        issued, expiry, name, *rest = lines
        _time(issued, "line 1, the date of issue")
        if not expiry.startswith("E"):
            raise FormatError(f"{WHITELIST} line 2 is no expiry date: {expiry[:40]!r}")
        if not name.startswith("N"):
            raise FormatError(f"{WHITELIST} line 3 is no repository name: {name[:40]!r}")
        uses_pkcs7 = rest[:1] == ["Vpkcs7"]
        if uses_pkcs7:
            rest = rest[1:]
        demands_ca_chain = rest[:1] == ["Wcachain"]
        if demands_ca_chain:
            rest = rest[1:]
        return cls(
            raw=raw,
            letter=letter,
            expires_at=_time(expiry[1:], "line 2, the expiry date").replace(minute=0, second=0),
            fqrn=_name(name[1:]),
            fingerprints=frozenset(filter(None, map(_fingerprint, rest))),
            uses_pkcs7=uses_pkcs7,
            demands_ca_chain=demands_ca_chain,
        )

    def is_expired(self, now: datetime) -> bool:
        """Whether it counts no longer at ``now``: clients refuse it from the hour it names on."""
        return now >= self.expires_at


def _time(digits: str, where: str) -> datetime:
    if not _TIME.fullmatch(digits):
        raise FormatError(f"{WHITELIST} {where}: {digits[:40]!r} is not YYYYMMDDhhmmss")
    try:
        return datetime.strptime(digits, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError as error:
        raise FormatError(f"{WHITELIST} {where}: {digits} is no date") from error


def _name(name: str) -> Fqrn:
    try:
        return Fqrn(name)
    except FormatError as error:
        raise FormatError(f"{WHITELIST} line 3: {error}") from error


def _fingerprint(line: str) -> Fingerprint | None:
    """A line's fingerprint. Comments, and whatever a later format adds, list nothing."""
    try:
        return Fingerprint.parse(re.split(r"[ \t#]", line, maxsplit=1)[0])
    except FormatError:
        return None
