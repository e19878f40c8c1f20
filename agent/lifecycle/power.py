"""
Whether the power is just back: then this machine is seldom alone, and a whole site would speak in the same second.

So the first start in a boot makes others wait a moment: brokers for a connection, far sides for what was left over.
A start at any other time is somebody's wish, who watches what comes of it.
"""

from __future__ import annotations

from pathlib import Path
from random import Random

from agent.spool.clock import boot_id, boottime_ms

NAME = "boot"
JUST = 600.0  # seconds since boot: an agent that somebody starts later does not come with a crowd
SPREAD = 30.0  # seconds over which a site comes back


def head_start(directory: Path, rng: Random) -> float:
    """
    How many seconds to leave to others now; 0 unless an earlier boot has left this state directory.

    Which boot this is is kept there for the next start, as far as the disk takes it.
    """
    path, boot = directory / NAME, boot_id().hex()
    try:
        former = path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        former = ""
    if former == boot:
        return 0.0
    try:
        path.touch(mode=0o600)
        path.write_text(f"{boot}\n", encoding="ascii")
    except OSError:
        pass  # then the next start is on its own, too
    return rng.uniform(0.0, SPREAD) if former and boottime_ms() < JUST * 1000 else 0.0
