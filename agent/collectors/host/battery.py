"""`host.battery`: how full the battery is, for how long it lasts, and whether the machine is plugged in."""

from __future__ import annotations

import os

from agent.collectors.host.readings import Absent, Fields
from agent.collectors.host.tree import Tree, share, text

SUPPLIES = "/sys/class/power_supply"
MAINS = ("AC0", "AC")


def battery(tree: Tree) -> Fields:
    """The first battery, as psutil reckons it. Raises Absent where there is none, ValueError."""
    try:
        names = os.listdir(tree.path(SUPPLIES))
    except OSError as error:
        raise Absent("no power supplies") from error
    batteries = [name for name in names if name.startswith("BAT") or "battery" in name.lower()]
    if not batteries:
        raise Absent("no battery")
    here = f"{SUPPLIES}/{min(batteries)}"
    now = _number(tree, f"{here}/energy_now", f"{here}/charge_now")
    full = _number(tree, f"{here}/energy_full", f"{here}/charge_full")
    if now is not None and full is not None:
        percent: float | None = share(now, full)
    else:
        percent = _number(tree, f"{here}/capacity")
    if percent is None:
        raise Absent("a battery that does not say how full it is")
    status = text(tree.read_if_there(f"{here}/status") or b"").strip().lower()
    power = _number(tree, f"{here}/power_now", f"{here}/current_now")
    left = _number(tree, f"{here}/time_to_empty_now")  # seconds, which psutil takes for minutes
    plugged = is_plugged(_number(tree, *(f"{SUPPLIES}/{name}/online" for name in MAINS)), status)
    seconds = None
    if now is not None and power is not None:
        seconds = int(now / abs(power) * 3600) if power else None
    elif left is not None:
        seconds = left
    return fields(percent, seconds, plugged=plugged)


def is_plugged(mains: int | None, status: str) -> bool | None:
    """Does the machine run on mains? None where that is not known."""
    if mains is not None:
        return mains == 1
    return {"discharging": False, "charging": True, "full": True}.get(status)


def fields(percent: float, seconds: int | None, *, plugged: bool | None) -> Fields:
    """The fields of `host.battery`; what is not known is left out, and no time where it does not run out."""
    found: Fields = {"percent": round(float(percent), 4)}
    if seconds is not None and seconds >= 0 and not plugged:
        found["seconds_left"] = seconds
    if plugged is not None:
        found["plugged"] = int(plugged)
    return found


def _number(tree: Tree, *paths: str) -> int | None:
    """The first of the files that is there."""
    for path in paths:
        raw = tree.read_if_there(path)
        if raw is not None:
            return int(raw)
    return None
