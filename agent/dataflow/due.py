"""When a rule is due, by the wall clock and by what waits. Pure: the caller has the clock. Times are seconds."""

from __future__ import annotations

from datetime import datetime, timedelta

from agent.dataflow.kept import Kept
from agent.dataflow.rule import DAY, Rule


def day_of(now: float) -> str:
    """The day of this machine's clock and zone."""
    return _local(now).date().isoformat()


def next_day(now: float) -> float:
    """When the next day begins."""
    return _at_midnight(_local(now).replace(tzinfo=None) + timedelta(days=1)).timestamp()


def latest(rule: Rule, now: float) -> float | None:
    """The latest moment at which the clock alone makes the rule due, `now` or before; None where it never does."""
    if rule.every is not None:
        return now // rule.every * rule.every
    if (clock := rule.clock) is not None:
        today = _at_midnight(_local(now).replace(tzinfo=None))
        moments = (
            (today + timedelta(days=day)).replace(hour=clock.hour, minute=clock.minute).timestamp() for day in (0, -1)
        )
        return next(moment for moment in moments if moment <= now)
    return None


def following(rule: Rule, now: float) -> float | None:
    """The first such moment after `now`."""
    if rule.every is not None:
        return now // rule.every * rule.every + rule.every
    if (clock := rule.clock) is not None:
        today = _at_midnight(_local(now).replace(tzinfo=None))
        moments = (
            (today + timedelta(days=day)).replace(hour=clock.hour, minute=clock.minute).timestamp() for day in (0, 1, 2)
        )
        return next(moment for moment in moments if moment > now)
    return None


def is_due(rule: Rule, kept: Kept, now: float) -> bool:
    """Whether it is to run, whatever its limit says. A moment that was missed counts once."""
    if rule.after_objects is not None:
        return kept.waiting >= rule.after_objects
    moment = latest(rule, now)
    return moment is not None and kept.tick is not None and tick(moment) > kept.tick


def anchor(rule: Rule, kept: Kept, now: float) -> bool:
    """
    Give a rule that never ran, and one whose clock was set back, their beginning; whether that changed anything.

    A new rule waits for its first moment. After a clock that was ahead for a while, so does an old one.
    """
    before, moment = kept.tick, latest(rule, now)
    if moment is None:
        kept.tick = None
    elif before is None or before > tick(now + 2 * (rule.every or DAY)):
        kept.tick = tick(moment)
    return kept.tick != before


def tick(moment: float) -> int:
    """A moment as it is kept."""
    return round(moment * 1000)


def _local(now: float) -> datetime:
    return datetime.fromtimestamp(now).astimezone()


def _at_midnight(moment: datetime) -> datetime:
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)
