"""A publication that is killed leaves the published revision as it was, and the next one works."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

from mirror.store import local, staging
from mirror.stratum0.collection import plan_collection, sweep
from mirror.stratum0.publishing import PublicationOptions
from mirror.stratum0.retagging import retag
from tests.support.keys import Keys
from tests.support.origin import Origin
from tests.support.reachable import reachable_objects

OPERATIONS: Final = ("open", "write", "replace", "unlink", "mkdir")
_DIED: Final = 99
_FUTURE: Final = 2**40
ROUNDS: Final = 10


def dies_at(operation: int, work: Callable[[], object]) -> bool:
    """Do it in a process that ends, as by SIGKILL, at that file operation; False if it did not."""
    child = os.fork()
    if child == 0:
        try:
            _count_down(operation)
            work()
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) in (0, _DIED)
    return os.waitstatus_to_exitcode(status) == _DIED


def _count_down(operation: int) -> None:
    left = iter(range(operation))

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - any function of os
            if next(left, None) is None:
                os._exit(_DIED)
            return function(*arguments, **options)

        return call

    for name in OPERATIONS:
        setattr(os, name, counted(getattr(os, name)))
    for module in (local, staging):
        setattr(module, "syncfs", counted(lambda _root: None))  # noqa: B010 - not exported


def content(number: int) -> dict[bytes, bytes | None]:
    """Another tree for every number."""
    text = b"%d" % number
    return {
        b"/.cvmfsdirtab": b"/sw/*\n",
        b"/sw/a/file": text,
        b"/sw/b/%d" % number: text * 2,
        b"/top": text * 3,
    }


def assert_whole(origin: Origin) -> None:
    """Everything that the manifest and its tags reach is there, by somebody else's walk."""
    assert reachable_objects(origin.root) <= origin.objects()


def deaths(work: Callable[[int], object], survey: Callable[[], object]) -> int:
    """Die at the first operation, the second, and so on, until all is done before; how often."""
    for operation in range(10_000):
        if not dies_at(operation, partial(work, operation)):
            return operation
        survey()
    raise AssertionError("it never ends")


def test_a_crash_at_any_file_operation_leaves_the_old_revision(keys: Keys, tmp_path: Path) -> None:
    """Whichever operation was the last, old or new is published, whole, and the next succeeds."""
    origin = Origin(tmp_path, keys)
    origin.publish(content(-1))
    seen = {origin.manifest.revision}

    def survey() -> None:
        assert_whole(origin)
        seen.add(origin.manifest.revision)

    assert deaths(lambda number: origin.publish(content(number)), survey) > 50
    assert len(seen) < 5  # only what dies behind the rename of the manifest has published
    assert origin.publish(content(-2)).changes
    assert_whole(origin)
    assert origin.temporaries() == []


def test_a_first_publication_that_crashes_can_be_run_again(keys: Keys, tmp_path: Path) -> None:
    """Nothing, or all of it: half a repository is never published."""
    for step in range(0, 400, 37):
        (tmp_path / str(step)).mkdir()
        origin = Origin(tmp_path / str(step), keys)
        dies_at(step, partial(origin.publish, content(1)))
        if (origin.root / ".cvmfspublished").exists():
            assert_whole(origin)
        assert origin.publish(content(2)).revision in (1, 2)
        assert_whole(origin)
        assert origin.temporaries() == []


def test_a_new_tag_that_crashes_leaves_the_old_ones(keys: Keys, tmp_path: Path) -> None:
    """Signing again is as atomic as publishing."""
    origin = Origin(tmp_path, keys)
    origin.publish(content(0))
    assert deaths(lambda number: tag(origin, f"t{number}"), lambda: assert_whole(origin)) > 10
    tag(origin, "last")
    assert origin.temporaries() == []


def tag(origin: Origin, name: str) -> None:
    """Tag the head."""
    with origin.repository.locked():
        retag(origin.repository, origin.keys, add=(name, ""))


def collect(origin: Origin) -> None:
    """Keep what is published and tagged, whatever its age."""
    with origin.repository.locked():
        sweep(origin.repository, plan_collection(origin.repository, origin.manifest, _FUTURE))


def test_a_collection_that_crashes_is_finished_by_the_next(keys: Keys, tmp_path: Path) -> None:
    """After any deletion what is kept is whole; afterwards nothing else is left."""
    origin = Origin(tmp_path, keys)
    for number in range(4):
        origin.publish(content(number), PublicationOptions(tag=f"t{number}"))
    with origin.repository.locked():
        retag(origin.repository, origin.keys, remove=("t0", "t1"))
    assert deaths(lambda _: collect(origin), lambda: assert_whole(origin)) > 15
    collect(origin)
    assert origin.objects() == reachable_objects(origin.root)


def test_a_collection_deletes_catalogs_first(keys: Keys, tmp_path: Path) -> None:
    """While a root catalog is there, all that it needs is: it goes before what it refers to."""
    origin = Origin(tmp_path, keys)
    origin.publish(content(0), PublicationOptions(tag="old"))
    reached = {each for each in reachable_objects(origin.root) if each[-1] not in "HXM"}
    origin.publish(content(1), PublicationOptions(tag="new"))
    origin.publish(content(2), PublicationOptions(tag="newest"))
    with origin.repository.locked():
        retag(origin.repository, origin.keys, remove=("old", "new"))
    plan = plan_collection(origin.repository, origin.manifest, _FUTURE)
    order = [f"data/{each.text[:2]}/{each.text[2:]}{each.suffix.value}" for each in plan.condemned]
    gone = [each for each in order if each in reached]
    kinds = ["C" if each.endswith("C") else "" for each in gone]
    assert kinds == sorted(kinds, reverse=True)
    assert "" in kinds
    assert plan.condemned[0] in plan.condemned_roots


def written(origin: Origin) -> list[Path]:
    """Every file below ``data``, hidden or not."""
    with suppress(FileNotFoundError):  # renamed while we look
        return [each for fan in (origin.root / "data").iterdir() for each in fan.iterdir()]
    return []


def publishing(origin: Origin, keys: Path, seed: int) -> list[str]:
    """The command line that publishes some made-up files."""
    origin.keys.write_to(keys, origin.repository.fqrn)
    program = [str(Path(sys.executable).with_name("cvmfs-mirror")), "publish"]
    program += ["--synthetic", f"files=400,catalogs=20,seed={seed}", "--name", origin.fqrn]
    return [*program, "--into", str(origin.storage), "--keys", str(keys)]


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_the_program_can_be_killed(keys: Keys, tmp_path: Path, seed: int) -> None:
    """SIGKILL at some moment: what was published is whole, and the program can be run again."""
    origin = Origin(tmp_path, keys)
    origin.publish(content(0))
    before = (origin.root / ".cvmfspublished").read_bytes()
    program = publishing(origin, tmp_path / "keys", seed)
    files = random.Random(seed).randrange(430)
    with subprocess.Popen(program, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None and len(written(origin)) < files:
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
    assert_whole(origin)
    is_old = (origin.root / ".cvmfspublished").read_bytes() == before
    assert is_old or origin.manifest.revision == 2
    subprocess.run(program, check=True, stdout=subprocess.DEVNULL)
    assert_whole(origin)
    assert origin.temporaries() == []
