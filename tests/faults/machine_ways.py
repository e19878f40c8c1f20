"""What the machine's rows share."""

from __future__ import annotations

from functools import partial

from publisher import state_payload

from faults.stage import Scene

MIB = 1 << 20
CLOSED = "spool takes nothing in"  # how the log says that intake is closed
KIB_PAYLOAD = partial(state_payload, pad=1000)
# For a sink behind a spool of small segments: no batch spans two, and each that is not full waits this long for more.
BRISK = 'linger = "50ms"'
# While it takes nothing in, the spool tries again every 5 s, and at every question of the watchdog: with
# WatchdogSec=1 three times a second, so that the quick form need not wait.
HASTY_WATCHDOG = {"WATCHDOG_USEC": "1000000"}


def has_taken(scene: Scene, count: int) -> bool:
    """Whether so many records are durable in the spool, or were."""
    return bool(scene.agent.status()["spool"]["lanes"]["all"]["head"] >= count)
