"""`triggerRule`: when a trigger goes off (createTrigger); which members it wants depends on the others."""

from __future__ import annotations

from agent.ncloud.data_flow.dates import moment
from agent.ncloud.data_flow.shapes import BOTH, Check, Member, Reading, Shape, list_of, one_of, shown, table, text

_INTERVALS = ("HOUR", "DAY", "WEEK", "MONTH")
_DAYS = ("MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY")

_minute = text('the minute of the hour as text, "00" to "59"', r"[0-5]\d")
_clock = text('a time of day such as "10:00"', r"([01]\d|2[0-3]):[0-5]\d")


def _day_of_month(reading: Reading, place: str, value: object) -> None:
    if value not in {"-1", *map(str, range(1, 32))}:
        reading.mistyped(place, 'a day as text, "1" to "31", or "-1" for the last of the month', value)


def _date(reading: Reading, place: str, value: object) -> None:
    try:
        moment(value if isinstance(value, str) else "")
    except ValueError:
        reading.bad(place, f"expected a date such as 2024-07-10T14:16:01+09:00, found {shown(value)}")


_SHAPE: Shape = {
    "type": Member(one_of("RECURRING", "ONE_TIME", "NONE"), BOTH),
    "interval": Member(one_of(*_INTERVALS)),
    "time": Member(text()),
    "dayOfWeek": Member(list_of(one_of(*_DAYS), least=1)),
    "dateOfMonth": Member(_day_of_month),
    "executionDate": Member(_date),
}
_rule = table(_SHAPE)


def trigger_rule(reading: Reading, place: str, value: object) -> None:
    """A trigger's rule."""
    _rule(reading, place, value)
    if not isinstance(value, dict):
        return
    for name, why in _wanted(value):
        if name not in value:
            reading.bad(f"{place}.{name}", f"is required with {why}, and missing")
    interval, time = value.get("interval"), value.get("time")
    if value.get("type") == "RECURRING" and isinstance(time, str) and interval in _INTERVALS:
        check: Check = _minute if interval == "HOUR" else _clock
        check(reading, f"{place}.time", time)


def _wanted(rule: dict[str, object]) -> list[tuple[str, str]]:
    match rule.get("type"):
        case "RECURRING":
            wanted = [("interval", "type RECURRING"), ("time", "type RECURRING")]
            match rule.get("interval"):
                case "WEEK":
                    wanted.append(("dayOfWeek", "interval WEEK"))
                case "MONTH":
                    wanted.append(("dateOfMonth", "interval MONTH"))
            return wanted
        case "ONE_TIME":
            return [("executionDate", "type ONE_TIME")]
        case _:
            return []
