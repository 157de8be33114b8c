"""Load by wrk, and what it cost the server.

wrk asks for one object or another, each request built beforehand: what its script does for a
request is to take any from a list, since going round in a circle would be unfair to whoever keeps
what was used last. Even so it is as busy as a fast server, so requests a second
say less than the server's processor time for each of them.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from bench.measuring import busy_s, cpu_s
from bench.objects import Objects
from bench.servers import Server

_PATIENCE = "60s"
_CLOSED = 0.05
"""Of the requests, at most: Apache closes a waiting connection now and then when it is busy."""


@dataclass(frozen=True, slots=True)
class Load:
    """What one run of wrk saw.

    Attributes:
        requests_per_s: answered in whole.
        bytes_per_s: headers, and answers cut short by the end, included.
        p50_ms: half of the answers were complete after it.
        p99_ms: and of a hundred all but one.
        cpu_us: processor time of all processes of the server, for a request.
        wrk_cores: how busy the asking side was.
        others_cores: busy with something else, on average.
    """

    requests_per_s: float
    bytes_per_s: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    wrk_cores: float
    others_cores: float


class Wrk:
    """Asks for the same objects again and again."""

    def __init__(self, objects: Objects, directory: Path, cores: Sequence[int]) -> None:
        """Run on these cores, one thread on each."""
        self._threads = len(cores)
        self._prefix = ["taskset", "--cpu-list", ",".join(map(str, cores)), "wrk"]
        self._paths = directory / "paths"
        self._paths.write_text("".join(f"{path}\n" for path in objects.paths))
        self._script = directory / "wrk.lua"
        self._script.write_text(_SCRIPT)
        self._once = directory / "once.lua"
        self._once.write_text(_SCRIPT + _ONCE)

    def load(
        self, server: Server, connections: int, seconds: int, *, is_once: bool = False
    ) -> Load:
        """Ask one server for so long, as quickly as so many connections can.

        With ``is_once`` each object is asked for once, and when none is left that is the end.
        """
        began, all_s, server_s = time.perf_counter(), busy_s(), cpu_s([server.pid])
        own_s = time.process_time()
        said, wrk_s = self._run(
            server, connections, seconds, self._once if is_once else self._script
        )
        server_s, all_s = cpu_s([server.pid]) - server_s, busy_s() - all_s
        own_s, wall_s = time.process_time() - own_s, time.perf_counter() - began
        closed = said["errors"].pop("read")
        if any(said["errors"].values()) or closed > said["requests"] * _CLOSED:
            sys.exit(f"{server.name} did not answer everything: {said}, {closed} closed")
        return Load(
            requests_per_s=said["requests"] / said["seconds"],
            bytes_per_s=said["bytes"] / said["seconds"],
            p50_ms=said["p50_ms"],
            p99_ms=said["p99_ms"],
            cpu_us=1e6 * server_s / said["requests"],
            wrk_cores=wrk_s / wall_s,
            others_cores=max(0.0, all_s - server_s - wrk_s - own_s) / wall_s,
        )

    def _run(
        self, server: Server, connections: int, seconds: int, script: Path
    ) -> tuple[dict[str, Any], float]:
        """What the script says at the end, and wrk's own processor time."""
        command = [*self._prefix, f"-t{self._threads}", f"-c{connections}", f"-d{seconds}s"]
        command += ["--timeout", _PATIENCE, "--script", str(script), server.url]
        with tempfile.TemporaryFile() as output:
            program = subprocess.Popen([*command, "--", self._paths], stdout=output)
            _, status, used = os.wait4(program.pid, 0)
            program.returncode = os.waitstatus_to_exitcode(status)
            output.seek(0)
            text = output.read().decode()
        if program.returncode:
            sys.exit(f"wrk ended with {program.returncode}\n{text}")
        said: dict[str, Any] = json.loads(text.splitlines()[-1])
        return said, used.ru_utime + used.ru_stime


def medians(loads: Sequence[Load]) -> Load:
    """Of each figure by itself."""
    names = [field.name for field in fields(Load)]
    return Load(
        **{name: statistics.median(getattr(each, name) for each in loads) for name in names}
    )


_SCRIPT = """
local threads, requests, count = 0, {}, 0
local any = math.random

function setup(thread)
   threads = threads + 1
   thread:set("seed", threads)
end

function init(arguments)
   for path in io.lines(arguments[1]) do
      count = count + 1
      requests[count] = wrk.format("GET", path)
   end
   math.randomseed(seed)
end

function request()
   return requests[any(count)]
end

function done(summary, latency)
   local e = summary.errors
   io.write(string.format(
      '{"requests": %d, "bytes": %.0f, "seconds": %f, "p50_ms": %f, "p99_ms": %f, "errors": '
      .. '{"connect": %d, "read": %d, "write": %d, "status": %d, "timeout": %d}}',
      summary.requests, summary.bytes, summary.duration / 1e6,
      latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
      e.connect, e.read, e.write, e.status, e.timeout
   ))
end
"""

# For one thread. wrk sleeps until its time is over, unless somebody interrupts it.
_ONCE = """
local ffi, asked = require("ffi"), 0
ffi.cdef "int kill(int, int); int getpid();"

function request()
   asked = asked + 1
   if asked == count then
      wrk.thread:stop()
      ffi.C.kill(ffi.C.getpid(), 2)
   end
   return requests[math.min(asked, count)]
end
"""
