"""`host.cgroup`: limits and use of a control group (cgroup v2)."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence

from agent.collectors.host.disk import mount_table
from agent.collectors.host.readings import Absent, Row
from agent.collectors.host.tree import Tree, text

FILES = (
    "cpu.max", "cpu.stat", "io.stat", "memory.current", "memory.events", "memory.high", "memory.max", "memory.peak",
    "memory.swap.current", "memory.swap.max", "pids.current", "pids.max",
)  # fmt: skip
NO_LIMIT = "max"


class Cgroup:
    """
    Reads the groups named by `patterns` (globs below the mount of cgroup v2).

    Without any it reads the group this process is in, which in a container is the container's; with a
    prefix, the machine's root group.
    """

    def __init__(self, tree: Tree, patterns: Sequence[str]) -> None:
        self._tree = tree
        self._patterns = patterns
        self._top = ""  # where cgroup v2 is mounted, once found: it does not move

    def read(self) -> Iterator[Row]:
        top = self._mounted()
        for path in self._groups(top):
            fields: dict[str, int | float] = {}
            for name in FILES:
                # Which files there are depends on the controllers that are on, and on the place in the tree.
                raw = self._tree.read_if_there(f"{path}/{name}")
                if raw is not None:
                    fields |= values(name, raw)
            if fields:
                yield Row("host.cgroup", (("path", text(os.fsencode(path))),), fields)

    def _mounted(self) -> str:
        if not self._top:
            mounts = self._tree.mounts if self._tree.root else self._tree.read("/proc/self/mounts")
            paths = [os.fsdecode(mount.path) for mount in mount_table(mounts) if mount.fstype == "cgroup2"]
            if not paths or not os.path.isdir(self._tree.path(paths[0])):
                raise Absent("no cgroup v2 is mounted")
            self._top = paths[0]
        return self._top

    def _groups(self, top: str) -> list[str]:
        if self._patterns:
            below = self._tree.path(top)
            found = {name for pattern in self._patterns for name in glob.glob(pattern.strip("/"), root_dir=below)}
            return [f"{top}/{name}" for name in sorted(found) if os.path.isdir(f"{below}/{name}")]
        if self._tree.root:
            return [top]
        own = own_group(self._tree.read("/proc/self/cgroup"))
        # It is not there where the container sees only its own part of the tree, mounted as the top.
        return [top + own if own and os.path.isdir(top + own) else top]


def own_group(raw: bytes) -> str:
    """The v2 group named in /proc/<pid>/cgroup, `/system.slice/name`; empty: the top, or outside of what is seen."""
    for line in raw.splitlines():
        if line.startswith(b"0::/"):
            path = os.fsdecode(line[3:]).rstrip("/")
            return "" if "/.." in path else path
    return ""


def values(name: str, raw: bytes) -> dict[str, int | float]:
    """
    The values of a group's file under Telegraf's names. Raises ValueError.

    `memory.current`; `cpu.max.0`; `cpu.stat.usage_usec`; `io.stat.259:0.rbytes`. "max", no limit, is left out.
    """
    if name == "io.stat":
        return _io(raw)
    fields: dict[str, int | float] = {}
    for words in map(str.split, raw.decode("ascii").splitlines()):
        match words:
            case []:
                continue
            case [value]:
                fields |= _numbers({name: value})
            case [key, value] if key[0].isalpha() and key != NO_LIMIT:
                fields |= _numbers({f"{name}.{key}": value})
            case _:
                fields |= _numbers({f"{name}.{at}": value for at, value in enumerate(words)})
    return fields


def _io(raw: bytes) -> dict[str, int | float]:
    fields: dict[str, int | float] = {}
    device = ""
    for word in raw.decode("ascii").split():
        # Word by word, not line by line: some kernels put devices that did nothing before others on a line.
        key, equals, value = word.partition("=")
        if not equals:
            device = word
        elif value.isdecimal():  # `depth=max` of the latency controller is no number
            fields[f"io.stat.{device}.{key}"] = int(value)
    return fields


def _numbers(named: dict[str, str]) -> dict[str, int]:
    return {name: int(value) for name, value in named.items() if value != NO_LIMIT}
