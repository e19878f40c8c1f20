"""`host.net`: what each network interface has sent and received."""

from __future__ import annotations

import time
from collections.abc import Iterator

from agent.collectors.host.filters import Filter
from agent.collectors.host.readings import Row
from agent.collectors.host.tree import Tree, text

# Column of /proc/net/dev -> field.
FIELDS = {
    0: "bytes_recv", 1: "packets_recv", 2: "err_in", 3: "drop_in",
    8: "bytes_sent", 9: "packets_sent", 10: "err_out", 11: "drop_out",
}  # fmt: skip
COLUMNS = 16
UP = 0x1  # IFF_UP
SPEED_AGE = 60.0  # seconds; some drivers ask the card for it, under the kernel's lock for networks


class Net:
    """Reads /proc/net/dev, and /sys/class/net for what is up and how fast."""

    def __init__(self, tree: Tree, interfaces: Filter) -> None:
        self._tree = tree
        self._interfaces = interfaces
        self._speeds: dict[str, int | None] = {}
        self._asked = float("-inf")

    def read(self) -> Iterator[Row]:
        # Process 1's is the host's; without a prefix, the network this process has.
        found = net_dev(self._tree.read("/proc/1/net/dev" if self._tree.root else "/proc/net/dev"))
        now = time.monotonic()
        if now - self._asked >= SPEED_AGE:
            self._speeds, self._asked = {}, now
        for name, fields in found.items():
            # As in Telegraf: a named interface is reported up or down, the others while they are up.
            if self._interfaces.takes(name) and (self._interfaces.names or self._up(name)):
                if name not in self._speeds:
                    self._speeds[name] = self._speed(name)
                if (speed := self._speeds[name]) is not None:
                    fields["speed"] = speed
                yield Row("host.net", (("interface", name),), fields)

    def _up(self, name: str) -> bool:
        flags = self._tree.read_if_there(f"/sys/class/net/{name}/flags")
        return flags is None or bool(int(flags, 16) & UP)

    def _speed(self, name: str) -> int | None:
        """Mbit/s, where the interface has a speed: a bridge has none, a link that is down answers -1 or an error."""
        speed = self._tree.read_if_there(f"/sys/class/net/{name}/speed")
        return int(speed) if speed and int(speed) > 0 else None


def net_dev(raw: bytes) -> dict[str, dict[str, int | float]]:
    """The counters of each interface. Raises ValueError."""
    found: dict[str, dict[str, int | float]] = {}
    for line in raw.splitlines()[2:]:
        # The last colon: an alias (eth0:1) has one in its name, and old kernels put no blank after it.
        name, colon, rest = line.rpartition(b":")
        values = rest.split()
        if not colon or len(values) < COLUMNS:
            raise ValueError("a line of /proc/net/dev that is no interface")
        found[text(name.strip())] = {field: int(values[column]) for column, field in FIELDS.items()}
    return found
