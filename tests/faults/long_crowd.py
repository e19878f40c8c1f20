"""Crowds: what their far side sees of a thousand agents that lost it in the same second."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from e2e.simulated import World, simulate

from agent.errors import Retryable, Throttled
from faults.away import HOUR, heard, too_often, until
from faults.crowd import CROWD, FarSide, Shape, crowd, shape
from faults.rows import fault
from faults.site import a_site_comes_back
from faults.stage import Stage
from faults.verdict import Outcome, compared

PEAK = 3.0  # times the mean
WAVES = 0.3


@fault("crowd")
def a_crowd(stage: Stage) -> None:
    """
    A thousand deliveries whose far side comes back after an hour, whole agents whose site gets its power back.

    They lose it in the same second: the worst there is. The quick form has a quarter of them and outages of minutes;
    its bins of time are wider, so that each holds as many agents as a second of a thousand.
    """
    outcome, quick = stage.outcome, stage.is_quick
    outcome.trials += 1
    count = 250 if quick else CROWD
    _come_back(stage, "503", count, 150.0 if quick else HOUR, lambda: Retryable("not now", status=503))
    _come_back(stage, "Retry-After", count, 450.0 if quick else HOUR, lambda: Throttled("later", retry_after=60.0))
    if not quick:
        _come_back(stage, "refused", count, HOUR, lambda: Retryable("connection refused"))
    # Whole agents have threads of their own: a site is of two hundred.
    site = a_site_comes_back(stage.place(), stage.rng, 40 if quick else 200, width=12.0 if quick else 5.0)
    for name, found in site.items():
        _in_shape(outcome, name, found)
    stage.say(f"crowd: {outcome.notes}")


def _come_back(stage: Stage, name: str, count: int, seconds: float, trouble: Callable[[], Exception]) -> None:
    """So many agents after an outage of so many seconds."""
    outcome, rng, width = stage.outcome, stage.rng, CROWD / count
    far = FarSide(trouble)

    async def main(world: World) -> None:
        async with crowd(stage.place(), count, far, rng, batches=3 if stage.is_quick else 20) as agents:
            clock = asyncio.get_running_loop().time
            async with agents.running(rng):
                began = clock()
                await asyncio.sleep(seconds)
                back, far.trouble = clock(), None
                await until(lambda: not agents.queued(), "all of it", HOUR)
            _in_shape(outcome, f"{name}, meanwhile", shape(far.tries, began + seconds / 2, back, width=width))
            _in_shape(outcome, f"{name}, afterwards", shape(far.tries, back, width=width))
            if name == "Retry-After" and len([at for at in far.tries if at < back]) > count * (1 + seconds / 60):
                outcome.problems.append("Retry-After was not kept")
            outcome.add(compared(agents.ids, far.stored, told={}))

    with heard() as lines:
        simulate(main, grain=0.05)
    outcome.problems += [f"{name}: {each}" for each in too_often(lines)[:3]]


def _in_shape(outcome: Outcome, name: str, found: Shape) -> None:
    outcome.notes[name] = str(found)
    if found.seconds < 2 * found.width or found.ratio > PEAK or found.waves > WAVES:
        outcome.problems.append(f"{name}: {found}")
