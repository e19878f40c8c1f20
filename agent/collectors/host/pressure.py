"""`host.pressure`: for how much of the time work was held up for want of CPU, memory or I/O (PSI)."""

from __future__ import annotations

import errno
from collections.abc import Iterator

from agent.collectors.host.readings import Absent, Fields, Row
from agent.collectors.host.tree import Tree

RESOURCES = ("cpu", "memory", "io")


def pressure(tree: Tree) -> Iterator[Row]:
    """The records of /proc/pressure."""
    for resource in RESOURCES:
        try:
            raw = tree.read(f"/proc/pressure/{resource}")
        except OSError as error:
            if error.errno in {errno.ENOENT, errno.EOPNOTSUPP}:  # not built in, or off (psi=0)
                raise Absent("the kernel measures no pressure") from error
            raise
        for kind, fields in stalls(raw).items():
            # As in Telegraf: the system as a whole is never fully out of CPU, the kernel gives zeros.
            if (resource, kind) != ("cpu", "full"):
                yield Row("host.pressure", (("resource", resource), ("type", kind)), fields)


def stalls(raw: bytes) -> dict[str, Fields]:
    """`some` and `full`: percent of the last 10, 60 and 300 seconds, microseconds since boot. Raises ValueError."""
    found = {}
    for line in raw.decode("ascii").splitlines():
        kind, *pairs = line.split()
        fields: Fields = {}
        for pair in pairs:
            name, _, value = pair.partition("=")
            fields[name] = int(value) if name == "total" else float(value)
        found[kind] = fields
    return found
