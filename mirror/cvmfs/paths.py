"""Names inside a repository, and the one predicate that everything else follows.

    <storage>/<fqrn>/
    ├── .cvmfspublished             the manifest: which revision this is
    ├── .cvmfswhitelist[.pkcs7]     whose certificates may sign it
    ├── .cvmfsreflog                every root this replica has held
    ├── .cvmfs_master_replica       Stratum 0 only: "you may replicate me"
    ├── .cvmfs_last_snapshot        replica only: when the last snapshot ended
    ├── .cvmfs_is_snapshotting      replica only, during a snapshot: when it began
    ├── .cvmfs_status.json          replica only: the same for machines
    ├── .mirror-withheld            ours alone, never served: why clients get no manifest
    ├── .cvmfsalt-<hash><suffix>    where the manifest says ``Ayes``: links into data/
    └── data/
        ├── 00 … ff/<38 hex digits>[-rmd160|-shake128][C|H|L|M|P|X]
        └── txn/                    temporaries; never served

Objects are for ever, root files are for a minute: `is_immutable`.
"""

from __future__ import annotations

import re
from typing import Final

from mirror.cvmfs.content_hash import ContentHash, Suffix
from mirror.errors import FormatError

MANIFEST: Final = ".cvmfspublished"
WHITELIST: Final = ".cvmfswhitelist"
WHITELIST_PKCS7: Final = ".cvmfswhitelist.pkcs7"
REFLOG: Final = ".cvmfsreflog"
MASTER_REPLICA: Final = ".cvmfs_master_replica"
LAST_SNAPSHOT: Final = ".cvmfs_last_snapshot"
IS_SNAPSHOTTING: Final = ".cvmfs_is_snapshotting"
STATUS: Final = ".cvmfs_status.json"

WITHHELD: Final = ".mirror-withheld"

DATA: Final = "data"
TEMPORARIES: Final = "data/txn"
FAN_OUT: Final = tuple(f"{first_byte:02x}" for first_byte in range(256))

_OBJECT: Final = re.compile(
    r"data/([0-9a-f]{2})/([0-9a-f]{38})(|-rmd160|-shake128)([CHLMPX]?)", re.ASCII
)
_ROOT_FILE: Final = re.compile(r"\.cvmfs[A-Za-z0-9_.-]{1,128}", re.ASCII)


def object_path(content_hash: ContentHash) -> str:
    """Where an object lies below its repository: ``data/ab/cdef…C``."""
    digits = content_hash.digest.hex()
    label = content_hash.algorithm.label
    return f"data/{digits[:2]}/{digits[2:]}{label}{content_hash.suffix}"


def alternative_path(content_hash: ContentHash) -> str:
    """The link in the repository's root through which ``Ayes`` repositories bootstrap (B.4)."""
    return f".cvmfsalt-{content_hash}"


def alternative_target(content_hash: ContentHash) -> str:
    """Where that link points."""
    return object_path(content_hash)


def parse_object_path(path: str) -> ContentHash:
    """The inverse of `object_path`.

    Raises:
        FormatError: if ``path`` is not, character by character, an object's path.
    """
    match = _OBJECT.fullmatch(path)
    if match is None:
        raise FormatError(f"{path[:120]!r} is not the path of an object below data/")
    return ContentHash.parse(match[1] + match[2] + match[3], Suffix(match[4]))


def is_root_file(name: str) -> bool:
    """Whether ``name`` is a root file by its form; no such name can leave its directory."""
    return _ROOT_FILE.fullmatch(name) is not None


def is_immutable(path: str) -> bool:
    """Whether what this path names can never change: true of objects and of nothing else."""
    return _OBJECT.fullmatch(path) is not None
