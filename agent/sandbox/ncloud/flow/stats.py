"""The three calls about how much ran. An execution counts in the span that it was started in."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

from agent.sandbox.ncloud.answers import Answer, value
from agent.sandbox.ncloud.flow import dates
from agent.sandbox.ncloud.flow.executions import Execution
from agent.sandbox.ncloud.flow.problems import bad_parameter
from agent.sandbox.ncloud.state import Call, State

_STEP = 7_200_000  # ms; two hours in the sample of getExecutionTimes
_LONGEST = 366 * 86_400_000  # no bound is published; this keeps an answer from having no end


def results(state: State, call: Call) -> Answer:
    """`/stats/executions`: how many, and how they ended."""
    now = state.now_ms()
    ends = Counter(item.status(now) for item in _within(state, *_span(call)))
    return value(
        {"totalCount": ends.total(), "completedCount": ends["COMPLETED"], "failedCount": ends["FAILED"]},
    )


def by_day(state: State, call: Call) -> Answer:
    """`/stats/executions-interval`: an entry a day, from 00:00:01 to 00:00:00 of the next."""
    start, end = _span(call)
    day = datetime.fromtimestamp(start / 1000, dates.ZONE).replace(hour=0, minute=0, second=1, microsecond=0)
    result: list[dict[str, Any]] = []
    while (first := int(day.timestamp() * 1000)) <= end:
        day += timedelta(days=1)
        last = int(day.timestamp() * 1000) - 1000
        count = len(_within(state, first - 999, last))  # what falls into the second between two days, too
        said = {"startDate": dates.said(first, state.settings), "endDate": dates.said(last, state.settings)}
        result.append({"totalCount": count, **said})
    return value({"result": result})


def times(state: State, call: Call) -> Answer:
    """`/stats/executions-times`: by two hours; `value` is, as the page describes it, a number of jobs."""
    start, end = _span(call)
    steps = range(start // _STEP * _STEP, end + 1, _STEP)
    counts = Counter(item.created // _STEP * _STEP for item in _within(state, start, end))
    return value({"result": [{"time": step, "value": counts[step]} for step in steps]})


def _span(call: Call) -> tuple[int, int]:
    found = []
    for name in ("startDate", "endDate"):
        if not call.query.get(name):
            raise bad_parameter(f"{name}: is required.")
        try:
            found.append(dates.read(call.query[name]))
        except ValueError:
            raise bad_parameter(f"{name}: must be an ISO 8601 date and time.") from None
    start, end = found
    if not 0 <= end - start <= _LONGEST:
        raise bad_parameter("endDate: must be after startDate, by a year at most.")
    return start, end


def _within(state: State, start: int, end: int) -> list[Execution]:
    return [item for item in state.flow.executions() if start <= item.created <= end]
