"""What Data Flow's answers look like to people: dates in local time, durations, an object as lines."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from agent.cli import state as states
from agent.ncloud.data_flow import moment
from agent.units import format_duration

Row = Mapping[str, Any]

MINUTE = 60.0
IN_MINUTES = {"waitingTime", "runningTime", "timeout"}  # getJobExecutionById, jobCondition


def text(row: Row, name: str) -> str:
    """A member as text; "" where it is missing or null."""
    value = row.get(name)
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def local(row: Row, name: str) -> str:
    """A date in local time; what is none, as it is."""
    said = text(row, name)
    try:
        return _local(moment(said)) if said else ""
    except (ValueError, OverflowError):
        return said


def at(row: Row, name: str) -> str:
    """Milliseconds since the Unix epoch in local time; what is none, as it is."""
    said = text(row, name)
    try:
        return _local(datetime.fromtimestamp(float(said) / 1000).astimezone())
    except (ValueError, OverflowError, OSError):
        return said


def _local(when: datetime) -> str:
    return when.astimezone().isoformat(sep=" ", timespec="seconds")


def took(execution: Row) -> str:
    """How long an execution ran: by its own dates, or else by the whole minutes that Data Flow tells."""
    try:
        ran = (moment(execution["endDate"]) - moment(execution["startDate"])).total_seconds()
    except (KeyError, ValueError):
        minutes = execution.get("runningTime")
        ran = minutes * MINUTE if isinstance(minutes, int | float) else -1.0
    return format_duration(round(ran)) if ran >= 0 else ""


def rows(value: Row, name: str) -> list[Row]:
    """The objects of a list within an object."""
    found = value.get(name)
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def print_list(value: Any, head: Sequence[str], rows: Sequence[Sequence[Any]], *, as_json: bool) -> None:
    """A list: as it came, or as a table of these rows."""
    if as_json:
        states.print_json(value)
    elif rows:
        states.print_table(head, rows)
    else:
        print("none")


def print_executions(value: Sequence[Row], *, as_json: bool) -> None:
    """Executions, in the order in which Data Flow lists them."""
    rows = [
        (
            text(one, "jobExecutionId"),
            text(one, "jobName"),
            text(one, "status"),
            local(one, "createdDate"),
            local(one, "startDate"),
            local(one, "endDate"),
            took(one),
        )
        for one in value
    ]
    print_list(value, ("id", "job", "status", "created", "started", "ended", "took"), rows, as_json=as_json)


def print_one(value: Row, *, as_json: bool) -> None:
    """One object: as it came, or a line for each member, and lists of objects as tables below."""
    if as_json:
        states.print_json(value)
        return
    lines = dict(_lines(value))
    width = max(map(len, lines), default=0)
    for name, said in lines.items():
        print(f"{states.printable(name):{width}}  {states.printable(said)}".rstrip())
    for name, item in value.items():
        if _is_table(item):
            print(f"\n{states.printable(name)}")
            _print_table(item)


def _print_table(items: Sequence[Row]) -> None:
    """Objects as rows: what all of them have in columns, and the rest, which differs by their type, in the last one."""
    common = [name for name in items[0] if all(name in each for each in items)]
    rest = [", ".join(f"{name} {_short(item)}" for name, item in each.items() if name not in common) for each in items]
    head = [*common, *(["more"] if any(rest) else [])]
    lines = [[*(_short(each[name]) for name in common), more] for each, more in zip(items, rest, strict=True)]
    states.print_table(head, [line[: len(head)] for line in lines])


def _short(item: Any) -> str:
    """A value in a cell: of what would fill lines, how much there is."""
    if isinstance(item, dict) or _is_table(item):
        return f"({len(item)})"
    return ", ".join(map(str, item)) if isinstance(item, list) else text({"": item}, "")


def print_made(value: Row, key: str, *, as_json: bool) -> None:
    """What was made: all of it, or its id alone, so that a shell can take it."""
    if as_json:
        states.print_json(value)
    else:
        print(states.printable(text(value, key)))


def _lines(value: Row, inner: str = "") -> list[tuple[str, str]]:
    """The members that are no tables, those of an object within as `object.member`."""
    lines = []
    for name, item in value.items():
        if isinstance(item, dict) and item:
            lines += _lines(item, f"{inner}{name}.")
        elif item is not None and not _is_table(item):
            lines.append((inner + name, _said(value, name)))
    return lines


def _said(value: Row, name: str) -> str:
    said = local(value, name) if name.endswith("Date") else text(value, name)
    return f"{said} min" if name in IN_MINUTES and said else said


def _is_table(item: object) -> bool:
    return isinstance(item, list) and bool(item) and all(isinstance(each, dict) for each in item)
