"""`host.disk`: how full each mounted file system is."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from agent.collectors.host.filters import Filter
from agent.collectors.host.readings import Fields, Reading, Row, Tags
from agent.collectors.host.tree import share, text

ESCAPE = re.compile(rb"\\([0-7]{3})")


class Mount(NamedTuple):
    """One line of a mount table."""

    device: bytes
    path: bytes
    fstype: str
    read_only: bool


class Disk:
    """A reading for each mount, because one may hang (a dead file server) or fail by itself."""

    def __init__(
        self,
        mounts: Filter,
        fstypes: Filter,
        *,
        table: Callable[[], list[Mount]],
        ask: Callable[[bytes], Fields],
    ) -> None:
        self._mounts = mounts
        self._fstypes = fstypes
        self._table = table
        self._ask = ask

    def read(self) -> list[Reading]:
        # The table is read at every tick: a path that is mounted no longer would answer for the disk below it.
        return [self._reading(mount) for mount in self._wanted(self._table())]

    def _wanted(self, mounts: list[Mount]) -> Iterator[Mount]:
        devices = set()
        for mount in mounts:
            path = text(mount.path)
            # Asking for an autofs would mount it.
            if mount.fstype == "autofs" or not self._mounts.takes(path):
                continue
            if not self._mounts.names:
                # A device that is mounted twice (bind mounts) is reported where it was mounted first.
                if not self._fstypes.takes(mount.fstype) or (mount.device, mount.fstype) in devices:
                    continue
                devices.add((mount.device, mount.fstype))
            yield mount

    def _reading(self, mount: Mount) -> Reading:
        path = text(mount.path)
        tags: Tags = (
            ("path", path),
            ("device", text(mount.device).removeprefix("/dev/")),
            ("fstype", mount.fstype),
            ("mode", "ro" if mount.read_only else "rw"),
        )

        def ask() -> Iterator[Row]:
            fields = self._ask(mount.path)
            if fields["total"]:  # none: no disk behind it
                yield Row("host.disk", tags, fields)

        return Reading("disk", f"disk {path}", ask)


def mount_table(raw: bytes) -> list[Mount]:
    """The lines of /proc/<pid>/mounts, the last one of each path: it hides what was mounted there before."""
    mounts = {}
    for line in raw.splitlines():
        columns = line.split(b" ")
        if len(columns) < 4:
            raise ValueError("a line of the mount table that is no mount")
        device, path, fstype, options = columns[:4]
        mounts[path] = Mount(unescape(device), unescape(path), text(fstype), b"ro" in options.split(b","))
    return list(mounts.values())


def unescape(name: bytes) -> bytes:
    r"""A name without the kernel's escapes (`\040` is a blank)."""
    return ESCAPE.sub(lambda match: bytes([int(match[1], 8) & 0xFF]), name)


def visible(theirs: list[Mount], ours: list[Mount], root: bytes = b"") -> list[Mount]:
    """
    Those of the machine's mounts that this process sees, below its prefix.

    A size is had by asking a path, and here that path can lead elsewhere: to the directory under a
    mount that was not handed into the container, or, in a recorded tree, to this very machine's disk.
    So a mount is asked only where this process's own mount table has the same device and type mounted
    at that very path; of the others nothing is said.
    """
    seen = {(mount.path, mount.device, mount.fstype) for mount in ours}
    return [mount for mount in theirs if ((root + mount.path).rstrip(b"/") or b"/", mount.device, mount.fstype) in seen]


def sizes(found: os.statvfs_result) -> Fields:
    """The fields of `host.disk`."""
    block = found.f_frsize
    return space(found.f_blocks * block, (found.f_blocks - found.f_bfree) * block, found.f_bavail * block) | inodes(
        found
    )


def space(total: int, used: int, free: int) -> Fields:
    """As `df` counts: what is reserved for root is neither used nor free."""
    return {"total": total, "free": free, "used": used, "used_percent": share(used, used + free)}


def inodes(found: os.statvfs_result) -> Fields:
    """How many files there may be, and are."""
    used = found.f_files - found.f_ffree
    return {
        "inodes_total": found.f_files,
        "inodes_free": found.f_ffree,
        "inodes_used": used,
        "inodes_used_percent": share(used, found.f_files),
    }
