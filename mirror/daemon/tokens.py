"""Who may push: bearer tokens from files, and how often.

One token a line, behind it the names of the repositories it is for, with wildcards; none means all.
Empty lines and those that begin with ``#`` do not count.

    1f0c…32 characters or more…  *.example.org software.example.com
"""

from __future__ import annotations

import hashlib
import hmac
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from mirror.cvmfs.fqrn import Fqrn
from mirror.errors import ConfigError

_SHORTEST: Final = 32
_LONGEST_FILE: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Bearer:
    """One who may push.

    Attributes:
        name: for logs: file and line, nothing of the token.
        digest: of the token, so that all compare in the same time, however long they are.
        patterns: names of repositories; none means all.
    """

    name: str
    digest: bytes
    patterns: tuple[str, ...] = ()

    def may_push(self, fqrn: Fqrn) -> bool:
        """Whether this repository is one of theirs."""
        return not self.patterns or any(fnmatchcase(fqrn.name, each) for each in self.patterns)


@dataclass(frozen=True, slots=True)
class Tokens:
    """All who may push."""

    bearers: Sequence[Bearer] = ()

    @classmethod
    def read(cls, files: Sequence[Path]) -> Tokens:
        """Read them from files.

        Raises:
            ConfigError: what is wrong with them, all of it.
        """
        bearers: list[Bearer] = []
        problems: list[str] = []
        for file in files:
            try:
                _read(file, bearers, problems)
            except OSError as error:
                problems.append(f"{file}: {error.strerror or error}")
        if problems:
            raise ConfigError(problems)
        return cls(tuple(bearers))

    def bearer(self, token: str) -> Bearer | None:
        """Whose token it is; None if it is nobody's. Takes as long for any token."""
        digest = _digest(token)
        found = None
        for bearer in self.bearers:
            if hmac.compare_digest(bearer.digest, digest):
                found = bearer
        return found


def _read(file: Path, bearers: list[Bearer], problems: list[str]) -> None:
    with file.open("rb") as opened:
        mode = stat.S_IMODE(file.stat().st_mode)
        if mode & stat.S_IROTH:
            problems.append(f"{file} can be read by everybody (mode {mode:o}); chmod o-rwx {file}")
        lines = opened.read(_LONGEST_FILE).decode("utf-8", "replace").splitlines()
    for number, line in enumerate(lines, 1):
        token, *patterns = line.split() or ["#"]
        if token.startswith("#"):
            continue
        if len(token) < _SHORTEST:
            problems.append(
                f"{file}, line {number}: a token of {len(token)} characters; at least {_SHORTEST}: "
                "openssl rand -hex 32"
            )
        bearers.append(Bearer(f"{file.name}:{number}", _digest(token), tuple(patterns)))


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


@dataclass(slots=True)
class _Bucket:
    left: float
    at: float


class Buckets:
    """So many at once for each key, and then one each ``every_s``."""

    def __init__(self, at_once: int, every_s: float, time: Callable[[], float]) -> None:
        """All are full; ``time`` gives seconds that never go back."""
        self._at_once = at_once
        self._every_s = every_s
        self._time = time
        self._buckets: dict[object, _Bucket] = {}

    def wait_s(self, key: object) -> float:
        """Seconds until one may be taken; 0 for now."""
        left = self._bucket(key).left
        return 0.0 if left >= 1 else (1 - left) * self._every_s

    def take(self, key: object) -> None:
        """Take one."""
        self._bucket(key).left -= 1

    def _bucket(self, key: object) -> _Bucket:
        now = self._time()
        bucket = self._buckets.setdefault(key, _Bucket(float(self._at_once), now))
        gained = (now - bucket.at) / self._every_s
        bucket.left, bucket.at = min(float(self._at_once), bucket.left + gained), now
        return bucket
