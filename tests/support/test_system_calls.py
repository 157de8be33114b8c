from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.system_calls import parsed, require_durable_before_visible

ROOT = Path("/srv/test")
CREATED = (
    '7 openat(AT_FDCWD</>, "/srv/test/data/txn/{0}", O_WRONLY|O_CREAT, 0644) = 5</srv/test/{0}>'
)
WRITTEN = '7 write(5</srv/test/data/txn/{0}>, ""..., 9) = 9'
SYNCED = "7 syncfs(3</srv/test>) = 0"
NAMED = '7 rename("/srv/test/data/txn/{0}", "/srv/test/{1}") = 0'
OBJECT, CATALOG, MANIFEST = "data/ab/cd", "data/ef/01C", ".cvmfspublished"


def put(temporary: str, target: str) -> list[str]:
    """The lawful way."""
    return [
        *(line.format(temporary, target) for line in (CREATED, WRITTEN)),
        SYNCED,
        named(temporary, target),
    ]


def named(temporary: str, target: str) -> str:
    """A rename."""
    return NAMED.format(temporary, target)


def require(lines: list[str]) -> set[str]:
    """Judge a log; the catalog wants the object."""
    wanted = {CATALOG: [OBJECT]}
    return require_durable_before_visible(parsed(lines), ROOT, lambda path: wanted[path])


LAWFUL = [*put("1", OBJECT), *put("2", CATALOG), SYNCED, *put("3", MANIFEST), SYNCED]


def test_lines_become_calls() -> None:
    """Whole ones, and those during which others happened; not those that failed."""
    lines = [
        '7 openat(AT_FDCWD</tmp>, "/a", O_WRONLY|O_CREAT, 0644) = 5</a>',
        '8 rename("/x", "/y" <unfinished ...>',
        '7 write(5</a>, ""..., 10) = 10',
        '7 openat(AT_FDCWD</tmp>, "/absent", O_RDONLY) = -1 ENOENT (No such file or directory)',
        "8 <... rename resumed>) = 0",
        "7 --- SIGCHLD {si_signo=SIGCHLD} ---",
        "7 +++ exited with 0 +++",
        "8 +++ killed by SIGKILL +++",
    ]
    calls = list(parsed(lines))
    assert [call.name for call in calls] == ["openat", "write", "rename"]
    assert [call.paths for call in calls] == [("/a",), ("/a",), ("/x", "/y")]
    assert (calls[2].began, calls[2].ended) == (1, 4)


def test_what_is_lawful() -> None:
    """Written, synced, named; children before parents, the manifest last."""
    assert require(LAWFUL) == {OBJECT, CATALOG, MANIFEST}


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([line for line in LAWFUL if line != SYNCED], "may be empty"),
        ([*put("1", OBJECT), named("2", "data/ab/ef")], "nobody was seen writing"),
        (put("1", OBJECT), "not synced in the end"),
        (['7 write(5</srv/test/data/ab/cd>, ""..., 9) = 9'], "in place"),
        (
            [CREATED.format("1"), SYNCED, WRITTEN.format("1"), named("1", OBJECT), SYNCED],
            "may be empty",
        ),
        (
            [
                *(line.format(name) for name in "12" for line in (CREATED, WRITTEN)),
                *(SYNCED, named("1", OBJECT), named("2", CATALOG), SYNCED),
            ],
            "and not {'data/ab/cd'}",
        ),
        ([*put("1", OBJECT), CREATED.format("3"), named("3", MANIFEST), SYNCED], "may be empty"),
        (
            [
                *(line.format(name) for name in "13" for line in (CREATED, WRITTEN)),
                *(SYNCED, named("1", OBJECT), named("3", MANIFEST), SYNCED),
            ],
            "the manifest may be there",
        ),
        (
            [
                *(line.format("1") for line in (CREATED, WRITTEN)),
                *("8 syncfs(3</srv/test> <unfinished ...>", named("1", OBJECT)),
                *("8 <... syncfs resumed>) = 0", SYNCED),
            ],
            "may be empty",
        ),
    ],
    ids=[
        *("no sync", "unknown", "no last sync", "in place", "sync too early", "child too late"),
        *("empty manifest", "manifest too early", "sync not over"),
    ],
)
def test_what_is_not(lines: list[str], words: str) -> None:
    """Each article of the law has a breach that is noticed."""
    with pytest.raises(AssertionError, match=words):
        require(lines)
