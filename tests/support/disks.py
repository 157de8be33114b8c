"""Real disks that are full, read-only, or lose power, for tests that run as root."""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from typing import Final

import pytest

_FS_IOC_SHUTDOWN: Final = 0x8004587D


@contextmanager
def tiny_disk(mount_point: Path, size_bytes: int, options: str = "") -> Iterator[Path]:
    """A file system of this size; the test is skipped where mounting is not allowed."""
    mount_point.mkdir()
    option = f"size={size_bytes}{options}"
    mount = ["mount", "-t", "tmpfs", "-o", option, "tmpfs", str(mount_point)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small tmpfs needs root")
    try:
        yield mount_point
    finally:
        subprocess.run(["umount", "--lazy", str(mount_point)], check=True)


def resize(mount_point: Path, size_bytes: int) -> None:
    """Give a tiny disk another size, with everything on it."""
    option = f"remount,size={size_bytes}"
    subprocess.run(["mount", "-o", option, str(mount_point)], check=True)


def remount(mount_point: Path, option: str) -> None:
    """Change how a disk is mounted: ``ro``, ``rw``, ``nr_inodes=…``."""
    subprocess.run(["mount", "-o", f"remount,{option}", str(mount_point)], check=True)


class Cut(IntEnum):
    """How the power goes; the worst of each kind that a journal allows."""

    AFTER_THE_JOURNAL = 1
    """All that was done to names is there, and of contents only what was synced."""
    BEFORE_THE_JOURNAL = 2
    """Only what was synced is there."""


class MortalDisk:
    """A file system on a file, whose power can be cut.

    What the kernel has not written yet is lost then, and the file system refuses everything; it
    comes back as its journal knows it. So this sees through any number of processes, whatever they
    write by.

    Attributes:
        mount_point: where it is.
    """

    def __init__(self, image: Path, mount_point: Path) -> None:
        self.mount_point = mount_point
        self._image = image

    def cut_power(self, cut: Cut) -> None:
        """Now."""
        descriptor = os.open(self.mount_point, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, _FS_IOC_SHUTDOWN, struct.pack("I", cut))
        finally:
            os.close(descriptor)

    def restart(self) -> None:
        """The power is back; nobody may have a file open on it any more."""
        subprocess.run(["umount", str(self.mount_point)], check=True)
        self.mount()

    def mount(self) -> None:
        """Mount it; what is not synced stays in memory as long as possible."""
        command = ["mount", "-o", "loop,commit=900", str(self._image), str(self.mount_point)]
        subprocess.run(command, check=True, capture_output=True)


@contextmanager
def mortal_disk(directory: Path, size_mib: int) -> Iterator[MortalDisk]:
    """One with ext4; the test is skipped where there is no root, no loop device, or no mkfs."""
    if os.geteuid() != 0 or not shutil.which("mkfs.ext4"):
        pytest.skip("a disk whose power can be cut needs root and mkfs.ext4")
    image, mount_point = directory / "image", directory / "mortal"
    mount_point.mkdir()
    with image.open("wb") as file:
        file.truncate(size_mib * 2**20)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True)
    disk = MortalDisk(image, mount_point)
    try:
        disk.mount()
    except subprocess.CalledProcessError as error:
        pytest.skip(f"a disk whose power can be cut needs a loop device: {error.stderr!r}")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", str(mount_point)], check=True)
