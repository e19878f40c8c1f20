"""QueryData: points out, once they can be seen. Fields and defaults are those of "DataQueryRequest"."""

from __future__ import annotations

from agent.sandbox.ncloud.answers import Answer, RefusedError, value
from agent.sandbox.ncloud.points import points
from agent.sandbox.ncloud.schemas import FUNCTIONS, INTERVALS
from agent.sandbox.ncloud.state import Call, State


def query(state: State, call: Call) -> Answer:
    """The points of one metric."""
    asked = call.value
    if not isinstance(asked, dict):
        raise RefusedError("100", "The body must be an object.")
    start, end = asked.get("timeStart"), asked.get("timeEnd")
    if not isinstance(start, int) or not isinstance(end, int) or start > end:
        raise RefusedError("100", "timeStart and timeEnd must be milliseconds.")
    cw_key, metric, dimensions = asked.get("cw_key"), asked.get("metric"), asked.get("dimensions")
    if not isinstance(cw_key, str) or not isinstance(metric, str) or not isinstance(dimensions, dict):
        raise RefusedError("100", "cw_key, metric and dimensions are required.")
    interval = asked.get("interval", "Min1")
    aggregation, across = asked.get("aggregation", "AVG"), asked.get("queryAggregation", "AVG")
    if interval not in INTERVALS or aggregation not in FUNCTIONS or across not in FUNCTIONS:
        raise RefusedError("100", "interval, aggregation or queryAggregation is not known.")
    schema = state.schemas.find(cw_key)
    known = schema.find(metric) if schema is not None else None
    found: list[tuple[int, float]] = []
    if known is not None and known.metric:
        visible = call.now_ms - state.settings.visible_after * 1000
        rows = [row for row in state.ledger.rows(cw_key) if row.arrived <= visible]
        found = points(rows, known, dimensions, interval=interval, aggregation=aggregation, across=across)
    shown = [point for point in found if start <= point[0] <= end]
    return value(shown if state.settings.query_shape == "array" else {"data": shown})
