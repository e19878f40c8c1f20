"""`host.disk`: how full each mounted file system is."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from agent.collectors.host.filters import Filter
from agent.collectors.host.readings import Reading, Row, Tags
from agent.collectors.host.tree import Tree, share, text

ESCAPE = re.compile(rb"\\([0-7]{3})")


class Mount(NamedTuple):
    """One line of a mount table."""

    device: bytes
    path: bytes
    fstype: str
    read_only: bool


def own_mounts() -> bytes:
    """The mount table of this process."""
    return Tree().read("/proc/self/mounts")


class Disk:
    """
    Reads the machine's mount table, and asks each file system for its size.

    A size is had by asking a path, and below a prefix that path can lead elsewhere: to the directory
    under a mount that was not handed into the container, or, in a recorded tree, to this very
    machine's disk. So a mount is asked only where this process's own mount table has the same device
    and type mounted at that very path; of the others nothing is said.
    """

    def __init__(
        self,
        tree: Tree,
        mounts: Filter,
        fstypes: Filter,
        *,
        ours: Callable[[], bytes] = own_mounts,
        ask: Callable[[bytes], os.statvfs_result] = os.statvfs,
    ) -> None:
        self._tree = tree
        self._mounts = mounts
        self._fstypes = fstypes
        self._ours = ours
        self._ask = ask
        self._tables = (b"", b"")
        self._readings: list[Reading] = []

    def read(self) -> list[Reading]:
        """A reading for each mount, because one may hang (a dead file server) or fail by itself."""
        tables = (self._tree.mounts, self._ours())
        if tables != self._tables:
            found = visible(mount_table(tables[0]), mount_table(tables[1]), os.fsencode(self._tree.root))
            self._readings = [self._reading(mount) for mount in self._wanted(found)]
            self._tables = tables
        return self._readings

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
        where = os.fsencode(self._tree.root) + mount.path

        def ask() -> Iterator[Row]:
            fields = sizes(self._ask(where))
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


def visible(theirs: list[Mount], ours: list[Mount], root: bytes) -> list[Mount]:
    """Those of the machine's mounts that this process sees below its prefix."""
    seen = {(mount.path, mount.device, mount.fstype) for mount in ours}
    return [mount for mount in theirs if ((root + mount.path).rstrip(b"/") or b"/", mount.device, mount.fstype) in seen]


def sizes(found: os.statvfs_result) -> dict[str, int | float]:
    """The fields of `host.disk`. As `df` counts: what is reserved for root is neither used nor free."""
    block = found.f_frsize
    used, free = (found.f_blocks - found.f_bfree) * block, found.f_bavail * block
    inodes_used = found.f_files - found.f_ffree
    return {
        "total": found.f_blocks * block,
        "free": free,
        "used": used,
        "used_percent": share(used, used + free),
        "inodes_total": found.f_files,
        "inodes_free": found.f_ffree,
        "inodes_used": inodes_used,
        "inodes_used_percent": share(inodes_used, found.f_files),
    }
