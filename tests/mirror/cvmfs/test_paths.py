from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.cvmfs import paths
from mirror.cvmfs.content_hash import Algorithm, ContentHash, Suffix
from mirror.errors import FormatError
from tests.support.hostile import survives

HEX = "0123456789abcdef0123456789abcdef01234567"
hashes = st.builds(
    ContentHash,
    st.sampled_from(Algorithm),
    st.binary(min_size=20, max_size=20),
    st.sampled_from(Suffix),
)
ROOT_FILES = [
    paths.MANIFEST,
    paths.WHITELIST,
    paths.WHITELIST_PKCS7,
    paths.REFLOG,
    paths.MASTER_REPLICA,
    paths.LAST_SNAPSHOT,
    paths.IS_SNAPSHOTTING,
    paths.STATUS,
]


@pytest.mark.parametrize(
    ("algorithm", "suffix", "path"),
    [
        (Algorithm.SHA1, Suffix.NONE, f"data/01/{HEX[2:]}"),
        (Algorithm.SHA1, Suffix.CATALOG, f"data/01/{HEX[2:]}C"),
        (Algorithm.RMD160, Suffix.PARTIAL, f"data/01/{HEX[2:]}-rmd160P"),
        (Algorithm.SHAKE128, Suffix.HISTORY, f"data/01/{HEX[2:]}-shake128H"),
    ],
)
def test_objects_lie_below_two_digits(algorithm: Algorithm, suffix: Suffix, path: str) -> None:
    """An object's path is data, two digits, the rest with its algorithm, and its suffix."""
    assert paths.object_path(ContentHash(algorithm, bytes.fromhex(HEX), suffix)) == path


@given(hashes)
def test_parse_inverts_object_path(name: ContentHash) -> None:
    """Every object's path leads back to its name, and is for ever."""
    path = paths.object_path(name)
    assert paths.parse_object_path(path) == name
    assert paths.is_immutable(path)
    assert path.split("/")[1] in paths.FAN_OUT


def test_fan_out_is_a_byte() -> None:
    """Objects are spread over 256 directories."""
    assert (len(paths.FAN_OUT), paths.FAN_OUT[0], paths.FAN_OUT[-1]) == (256, "00", "ff")


@pytest.mark.parametrize(
    "path",
    [
        "",
        "data",
        "data/txn/tmp",
        f"data/01/{HEX[2:]}T",
        f"data/01/{HEX[2:]}CC",
        f"data/01/{HEX[2:]}\n",
        f"data/01/{HEX[2:-1]}",
        f"data/0g/{HEX[2:]}",
        f"data/AB/{HEX[2:]}",
        f"/data/01/{HEX[2:]}",
        f"data//01/{HEX[2:]}",
        f"data/01/../01/{HEX[2:]}",
        f"data/01/{HEX[2:]}-md5",
        f"data/01/{HEX[2:]}/",
        ".cvmfspublished",
    ],
)
def test_other_paths_name_no_object(path: str) -> None:
    """A path that differs in a character is refused, and is not for ever."""
    assert not paths.is_immutable(path)
    with pytest.raises(FormatError, match="is not the path of an object"):
        paths.parse_object_path(path)


@given(st.text() | st.from_regex(r"data/[0-9a-f]{2}/[0-9a-zA-Z/.\-]{30,50}"))
def test_any_path_is_an_object_or_refused(path: str) -> None:
    """No path makes it fail in another way."""
    survives(paths.parse_object_path, path)


@pytest.mark.parametrize("name", [*ROOT_FILES, f".cvmfsalt-{HEX}-shake128X"])
def test_root_files_change(name: str) -> None:
    """Every known root file has the form of one, and none is for ever."""
    assert paths.is_root_file(name)
    assert not paths.is_immutable(name)


@pytest.mark.parametrize(
    "name", [".cvmfs", "cvmfs", ".cvmfs/x", ".cvmfs\0", ".cvmfsx\n", ".htaccess"]
)
def test_root_files_stay_in_the_root(name: str) -> None:
    """Nothing that has a slash, or another beginning, is a root file."""
    assert not paths.is_root_file(name)


@given(hashes)
def test_alternative_paths_lead_to_objects(name: ContentHash) -> None:
    """The link in the root is a root file and points at the object."""
    assert paths.is_root_file(paths.alternative_path(name))
    assert paths.parse_object_path(paths.alternative_target(name)) == name
