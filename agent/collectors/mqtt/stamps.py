"""
A device's own time out of a payload, exact to the millisecond: no number ever passes through a float.

What comes out is milliseconds since 1970, and lies between the years 2000 and 9999: anything else is a device
whose clock was not set, or a format that is not the device's.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from decimal import ROUND_FLOOR, Context, Decimal
from zoneinfo import ZoneInfo

UNITS = {"s": 3, "ms": 0, "us": -3, "ns": -6}  # powers of ten to milliseconds
EARLIEST = 946_684_800_000  # 2000-01-01
LATEST = 253_402_300_800_000  # the end of the year 9999

Read = Callable[[str], int]  # raises ValueError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_INTEGER = re.compile(r"-?[0-9]{1,30}")
_DECIMAL = re.compile(r"-?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]{1,9})?")
_EXACT = Context(prec=80)
_RFC3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d):(\d\d)(?:[.,](\d{1,18}))?\s?(?:([Zz])|([+-])(\d\d):?(\d\d))?", re.ASCII
)


def reader(form: str, tz: str) -> Read:
    """What reads a time of that format. Raises ValueError where `problems` would say something."""
    zone = _zone(tz) if tz else None
    if form in UNITS:
        power = UNITS[form]
        return lambda text: _within(_number(text, power))
    if form == "rfc3339":
        return lambda text: _within(_rfc3339(text, zone))
    return lambda text: _within(_local(_by_pattern(text, form), zone))


def problems(key: str, form: str, tz: str) -> list[tuple[str, str]]:
    """What is wrong with a time's options: (option, text)."""
    found = []
    if not key:
        found.append(("key", "expected the key of the time in the payload"))
    if tz:
        try:
            _zone(tz)
        except ValueError as error:
            found.append(("tz", str(error)))
    if form in UNITS:
        if tz:
            found.append(("tz", f"has no meaning with format = {form!r}, which counts from 1970 in UTC"))
    elif form != "rfc3339":
        if "%" not in form:
            found.append(("format", "expected s, ms, us, ns, rfc3339 or a strptime pattern such as %Y-%m-%d %H:%M:%S"))
        elif reason := _pattern_problem(form):
            found.append(("format", reason))
        elif not tz and "%z" not in form:
            found.append(("tz", 'needed, as the format names no zone: tz = "Asia/Seoul", or %z in the format'))
    return found


def _zone(tz: str) -> ZoneInfo:
    try:
        return ZoneInfo(tz)
    except (OSError, ValueError, KeyError):  # ZoneInfoNotFoundError is a KeyError; a directory's name, an OSError
        raise ValueError(f'no such time zone: {tz!r}; expected a name such as "Asia/Seoul"') from None


def _pattern_problem(form: str) -> str:
    """Why a strptime pattern cannot be used, or nothing."""
    sample = datetime(2023, 11, 22, 13, 45, 56, tzinfo=UTC)
    try:
        again = datetime.strptime(sample.strftime(form), form)  # noqa: DTZ007 compared by its date alone
    except (ValueError, re.error) as error:
        return f"not a strptime pattern: {error}"
    if again.date() != sample.date():
        return "expected a pattern with the year, the month and the day"
    return ""


def _within(ms: int) -> int:
    if not EARLIEST <= ms < LATEST:
        raise ValueError("outside of the years 2000 to 9999: a clock that was not set, or another format")
    return ms


def _number(text: str, power: int) -> int:
    """Milliseconds, rounded down, of a decimal number times ten to that power."""
    if _INTEGER.fullmatch(text):
        value = int(text)
        return int(value * 10**power) if power >= 0 else value // 10**-power
    if len(text) > 60 or not _DECIMAL.fullmatch(text):
        raise ValueError("not a number")
    number = Decimal(text)
    # Checked before anything is written out: 1e999999999 has a billion digits.
    if number.adjusted() > 30:
        raise ValueError("not a time")
    if number.adjusted() < -30:
        return 0
    return int(number.scaleb(power, _EXACT).to_integral_value(ROUND_FLOOR, _EXACT))


def _by_pattern(text: str, form: str) -> datetime:
    try:
        return datetime.strptime(text, form)  # noqa: DTZ007 _local sees to the zone
    except ValueError:
        # Its own words repeat all of the text, which may be a payload of megabytes.
        raise ValueError(f"not of the form {form}") from None


def _rfc3339(text: str, zone: ZoneInfo | None) -> int:
    match = _RFC3339.fullmatch(text.strip())
    if match is None:
        raise ValueError("not an RFC 3339 time")
    date, minutes, seconds, fraction, zulu, sign, hours, rest = match.groups()
    leap = seconds == "60"  # a leap second has no place in epoch time: it is the second after 59
    moment = datetime.fromisoformat(f"{date}T{minutes}:{'59' if leap else seconds}")
    if zulu:
        moment = moment.replace(tzinfo=UTC)
    elif sign:
        offset = timedelta(hours=int(hours), minutes=int(rest))
        if int(rest) > 59 or offset >= timedelta(days=1):
            raise ValueError("an offset beyond a day")
        moment = moment.replace(tzinfo=timezone(-offset if sign == "-" else offset))
    return _local(moment, zone) + 1000 * leap + int(((fraction or "") + "000")[:3])


def _local(moment: datetime, zone: ZoneInfo | None) -> int:
    """Milliseconds of a moment; one without a zone is meant in ours."""
    if moment.tzinfo is None:
        if zone is None:
            raise ValueError("names no zone, and no tz is set")
        # fold stays 0: of a repeated hour the first pass, of a skipped one the offset before it.
        moment = moment.replace(tzinfo=zone)
    return (moment - _EPOCH) // _MILLISECOND
