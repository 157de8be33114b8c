"""A publication that is stopped from outside, in the midst of packing, ends with all it started."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from mirror.cvmfs.limits import MIB
from tests.support.keys import Keys
from tests.support.origin import Origin
from tests.support.tasks import until


def half_a_tarball() -> bytes:
    """Enough for several processes, and without an end: whoever reads it waits for more."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for number in range(20):
            member = tarfile.TarInfo(f"{number}")
            member.size = MIB
            tar.addfile(member, io.BytesIO(b"%08d" % number * (MIB // 8)))
        return buffer.getvalue()


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_a_publication_that_is_stopped_leaves_nothing_behind(
    keys: Keys, tmp_path: Path, name: str
) -> None:
    """A word and no traceback, no process, the old revision; after SIGKILL the next clears up."""
    origin = Origin(tmp_path, keys)
    origin.publish({b"/a": b"1"})
    origin.keys.write_to(tmp_path / "keys", origin.repository.fqrn)
    program = [str(Path(sys.executable).with_name("cvmfs-mirror")), "publish", "-"]
    program += ["--name", origin.fqrn, "--into", str(origin.storage)]
    with subprocess.Popen(
        [*program, "--keys", str(tmp_path / "keys")],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(half_a_tarball())
        until(lambda: len(origin.temporaries()) >= 1)
        if name == "SIGINT":
            os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        else:
            process.send_signal(getattr(signal, name))
        said = process.stderr.read()  # which ends when the last process has ended
    if name == "SIGKILL":
        origin.publish({b"/a": b"1"})
    else:
        assert process.returncode == 130
        assert said.strip() == b"stopped; nothing is lost: run it again to go on"
    assert origin.temporaries() == []
    assert origin.manifest.revision == 1
