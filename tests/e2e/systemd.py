"""What systemd is to a service with WatchdogSec: it hears what is said to it, and when."""

from __future__ import annotations

import contextlib
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from itertools import pairwise

WATCHDOG = 1.0  # seconds: WatchdogSec= of the unit


class Systemd:
    """What systemd would hear of a process that is started with `env`."""

    def __init__(self) -> None:
        name = f"e2e-{secrets.token_hex(8)}"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{name}")
        self.env = {"NOTIFY_SOCKET": f"@{name}", "WATCHDOG_USEC": str(int(WATCHDOG * 1_000_000))}
        self.fed: list[float] = []
        self.said: list[str] = []
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while text := self._socket.recv(65536).decode():
                if "WATCHDOG=1" in text:
                    self.fed.append(time.monotonic())
                self.said.append(text)

    def longest_silence(self, since: float) -> float:
        """The longest time between two feeds since that moment, up to now."""
        moments = [since, *(moment for moment in list(self.fed) if moment > since), time.monotonic()]
        return max(later - earlier for earlier, later in pairwise(moments))

    def has_lost_patience(self) -> bool:
        """Whether the last feed was longer ago than the unit allows: the moment at which systemd sends SIGABRT."""
        return bool(self.fed) and time.monotonic() - self.fed[-1] > WATCHDOG

    def close(self) -> None:
        self._socket.close()


@contextlib.contextmanager
def systemd() -> Iterator[Systemd]:
    """One that listens for as long as the block lasts."""
    host = Systemd()
    try:
        yield host
    finally:
        host.close()
