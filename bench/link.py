"""Where origin and peers of a case stand: on one host, or behind a link with a long round trip.

The link joins two network namespaces of its own, so nothing else on the machine is slowed, and
TCP meets it as it would a real one: connecting takes a round trip, and windows have to grow. The
delay comes from netem where the kernel has it. Elsewhere a process of ours passes packets from one
TUN device to another, each 25 ms after it came; the devices take and give what the kernel has not
cut to packets of 1,500 bytes yet, so that it has a few thousand pieces a second to pass, not 10⁵.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import select
import struct
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

ADDRESSES = "10.255.77.1", "10.255.77.2"
DEVICE = "bench0"
ONE_WAY_S = 0.025
NAMESPACES = Path("/run/netns")

_CLONE_NEWNET = 0x40000000
_TUNSETIFF = 0x400454CA
_TUNSETOFFLOAD = 0x400454D0
_TUN_NO_PI_VNET_HDR = 0x0001 | 0x1000 | 0x4000
_CSUM_AND_TSO = 1 | 2 | 4
_LARGEST_PACKET = 1 << 17
_TICK_S = 0.0005


@dataclass(frozen=True, slots=True)
class Route:
    """How programs are started on either side, and reach each other.

    Attributes:
        how: what it is, in words.
        address: the server's.
        server: words before the command of a server.
        client: words before the command of a peer.
        helpers: processes that belong to the route.
    """

    how: str
    address: str = "127.0.0.1"
    server: tuple[str, ...] = ()
    client: tuple[str, ...] = ()
    helpers: tuple[int, ...] = ()

    def round_trip_ms(self, port: int) -> float:
        """How long it takes to connect to the server, the least of five times."""
        done = subprocess.run(
            [*self.client, sys.executable, "-c", _CONNECT, self.address, str(port)],
            check=True,
            stdout=subprocess.PIPE,
        )
        return float(done.stdout)


_CONNECT = """
import socket, sys, time
def once():
    began = time.perf_counter()
    socket.create_connection((sys.argv[1], int(sys.argv[2]))).close()
    return time.perf_counter() - began
print(1000 * min(once() for _ in range(5)))
"""


@contextmanager
def loopback() -> Iterator[Route]:
    """No link at all."""
    yield Route("loopback")


@contextmanager
def link() -> Iterator[Route]:
    """Two namespaces, 25 ms apart each way; needs root."""
    names = [f"bench{os.getpid()}{side}" for side in "sc"]
    with ExitStack() as stack:
        for name in names:
            _run("ip", "netns", "add", name)
            stack.callback(_run, "ip", "netns", "del", name)
            _run("ip", "-n", name, "link", "set", "lo", "up")
        server, client = (("nsenter", f"--net={NAMESPACES / name}") for name in names)
        if _netem(names):
            yield Route("link by netem", ADDRESSES[0], server, client)
        else:
            relay = stack.enter_context(_relay(names))
            how = "link by a process between two TUN devices"
            yield Route(how, ADDRESSES[0], server, client, (relay,))


def can_link() -> bool:
    """Whether namespaces can be made here."""
    return os.geteuid() == 0 and Path("/dev/net/tun").exists()


def _netem(names: list[str]) -> bool:
    """Join the namespaces by a pair of veth and let the kernel wait, if it can."""
    pair = ("type", "veth", "peer", "name", DEVICE, "netns", names[1])
    _run("ip", "-n", names[0], "link", "add", DEVICE, *pair)
    delay = ("netem", "delay", f"{ONE_WAY_S * 1000:g}ms", "limit", "1000000")
    for name, address in zip(names, ADDRESSES, strict=True):
        command = ["tc", "-n", name, "qdisc", "add", "dev", DEVICE, "root", *delay]
        if subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode:
            _run("ip", "-n", names[0], "link", "del", DEVICE)
            return False
        _bring_up(name, address)
    return True


@contextmanager
def _relay(names: list[str]) -> Iterator[int]:
    command = [sys.executable, __file__, *names]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as relay:
        try:
            assert relay.stdout is not None
            if relay.stdout.readline() != b"ready\n":
                sys.exit("the link did not come up")
            yield relay.pid
        finally:
            relay.terminate()


def _bring_up(name: str, address: str) -> None:
    _run("ip", "-n", name, "addr", "add", f"{address}/24", "dev", DEVICE)
    _run("ip", "-n", name, "link", "set", DEVICE, "txqueuelen", "100000", "up")


def _run(*command: str) -> None:
    subprocess.run(command, check=True)


# --- the process between the devices --------------------------------------------------------------


def relay_packets(names: list[str]) -> None:
    """Pass packets between the namespaces until terminated."""
    ends = [_open_tun(name) for name in names]
    for name, address in zip(names, ADDRESSES, strict=True):
        _bring_up(name, address)
    print("ready", flush=True)
    others = dict(zip(ends, reversed(ends), strict=True))
    under_way: deque[tuple[float, int, bytes]] = deque()
    while True:
        if under_way:
            time.sleep(_TICK_S)
        else:
            select.select(ends, [], [])
        for end in ends:
            _take(end, others[end], under_way)
        now = time.monotonic()
        while under_way and under_way[0][0] <= now:
            _, end, packet = under_way.popleft()
            os.write(end, packet)


def _take(end: int, other: int, under_way: deque[tuple[float, int, bytes]]) -> None:
    due = time.monotonic() + ONE_WAY_S - _TICK_S / 2
    try:
        while True:
            under_way.append((due, other, os.read(end, _LARGEST_PACKET)))
    except BlockingIOError:
        return


def _open_tun(name: str) -> int:
    """A new device in a namespace, which lives as long as this process."""
    libc = ctypes.CDLL(None, use_errno=True)
    with (NAMESPACES / name).open("rb") as namespace:
        if libc.setns(namespace.fileno(), _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"cannot enter the namespace {name}")
    end = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    request = struct.pack("16sH22x", DEVICE.encode(), _TUN_NO_PI_VNET_HDR)
    fcntl.ioctl(end, _TUNSETIFF, request)
    fcntl.ioctl(end, _TUNSETOFFLOAD, _CSUM_AND_TSO)
    return end


if __name__ == "__main__":
    relay_packets(sys.argv[1:])
