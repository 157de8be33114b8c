"""The local blacklist: fingerprints, and revisions that are too old (contract B.3).

# a comment
AB:CD:…                         no manifest signed by this certificate
<software.example.org 120       no revision of this repository below 120
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from mirror.cvmfs.certificate import Fingerprint
from mirror.cvmfs.fqrn import Fqrn
from mirror.errors import FormatError

_REVISION: Final = re.compile(r"<\s*(\S+)\s+([0-9]{1,20})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Blacklist:
    """What this host refuses though it is validly signed.

    Attributes:
        fingerprints: certificates.
        minimum_revisions: per repository, the lowest revision still accepted.
    """

    fingerprints: frozenset[Fingerprint] = frozenset()
    minimum_revisions: Mapping[Fqrn, int] = field(default_factory=lambda: MappingProxyType({}))

    @classmethod
    def parse(cls, text: str) -> Blacklist:
        """Read the file; of several revisions for one name the highest counts.

        Raises:
            FormatError: a line is neither; a blacklist half read would be no protection.
        """
        fingerprints: set[Fingerprint] = set()
        minimum: dict[Fqrn, int] = {}
        for number, line in enumerate(text.splitlines(), start=1):
            entry = line.split("#", 1)[0].strip()
            if not entry:
                continue
            try:
                if entry.startswith("<"):
                    fqrn, revision = _refused_below(entry)
                    minimum[fqrn] = max(revision, minimum.get(fqrn, 0))
                else:
                    fingerprints.add(Fingerprint.parse(entry.split()[0]))
            except FormatError as error:
                raise FormatError(f"blacklist line {number}: {error}") from error
        return cls(frozenset(fingerprints), MappingProxyType(minimum))


def _refused_below(entry: str) -> tuple[Fqrn, int]:
    match = _REVISION.fullmatch(entry)
    if match is None:
        raise FormatError(f"{entry[:80]!r} is not '<repository revision'")
    return Fqrn(match[1]), int(match[2])
