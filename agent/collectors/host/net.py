"""`host.net`: what each network interface has sent and received."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator

from agent.collectors.host.filters import Filter
from agent.collectors.host.readings import Fields, Row
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
    """Puts together what the machine says of its interfaces."""

    def __init__(
        self,
        interfaces: Filter,
        *,
        counters: Callable[[], dict[str, Fields]],
        up: Callable[[Collection[str]], list[str]],
        speeds: Callable[[Collection[str]], dict[str, int]],
    ) -> None:
        self._interfaces = interfaces
        self._counters = counters
        self._up = up
        self._ask_speeds = speeds
        self._speeds: dict[str, int] = {}  # 0: it has none
        self._asked = float("-inf")

    def read(self) -> Iterator[Row]:
        found = self._counters()
        names = [name for name in found if self._interfaces.takes(name)]
        # As in Telegraf: a named interface is reported up or down, the others while they are up.
        if not self._interfaces.names:
            names = self._up(names)
        now = time.monotonic()
        if now - self._asked >= SPEED_AGE or not self._speeds.keys() >= set(names):
            self._speeds, self._asked = dict.fromkeys(names, 0) | self._ask_speeds(names), now
        for name in names:
            # Mbit/s: a bridge has none, a link that is down answers -1 or an error.
            speed: Fields = {"speed": self._speeds[name]} if self._speeds[name] > 0 else {}
            yield Row("host.net", (("interface", name),), found[name] | speed)


def up(tree: Tree, names: Collection[str]) -> list[str]:
    """Those that are up, as /sys has it, or of which that is not known."""
    flags = {name: tree.read_if_there(f"/sys/class/net/{name}/flags") for name in names}
    return [name for name, value in flags.items() if value is None or int(value, 16) & UP]


def speeds(tree: Tree, names: Collection[str]) -> dict[str, int]:
    """The speeds that /sys knows."""
    found = {name: tree.read_if_there(f"/sys/class/net/{name}/speed") for name in names}
    return {name: int(value) for name, value in found.items() if value}


def net_dev(raw: bytes) -> dict[str, Fields]:
    """The counters of each interface out of /proc/net/dev. Raises ValueError."""
    found: dict[str, Fields] = {}
    for line in raw.splitlines()[2:]:
        # The last colon: an alias (eth0:1) has one in its name, and old kernels put no blank after it.
        name, colon, rest = line.rpartition(b":")
        values = rest.split()
        if not colon or len(values) < COLUMNS:
            raise ValueError("a line of /proc/net/dev that is no interface")
        found[text(name.strip())] = {field: int(values[column]) for column, field in FIELDS.items()}
    return found
