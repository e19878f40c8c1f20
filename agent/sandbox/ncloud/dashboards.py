"""GetDashboardList, GetDashboardWidgetList and GetDashboardWidgetImage: what the account's metrics look like."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from agent.sandbox.ncloud.answers import Answer, RefusedError, failure, value
from agent.sandbox.ncloud.pictures import chart
from agent.sandbox.ncloud.points import points
from agent.sandbox.ncloud.schemas import INTERVALS, Field, Schema
from agent.sandbox.ncloud.state import Call, Routes, State

MOST_POINTS = 360  # of a line under AUTO: a longer time is drawn by a longer interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Widget:
    """A chart of one metric."""

    id: str
    name: str
    cw_key: str
    metric: str
    dimensions: Mapping[str, str] = field(default_factory=dict)
    aggregation: str = "AVG"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dashboard:
    """Some widgets under one name."""

    id: str
    name: str
    widgets: tuple[Widget, ...]

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Dashboard:
        """Out of a row of the setting `dashboards`."""
        return cls(id=row["id"], name=row["name"], widgets=tuple(Widget(**widget) for widget in row["widgets"]))


def listed(state: State, _call: Call) -> Answer:
    """GetDashboardList: an array."""
    return value([{"id": board.id, "name": board.name} for board in _dashboards(state)])


def widgets(state: State, call: Call) -> Answer:
    """GetDashboardWidgetList: an array, in which `name` is the widget's whatever the table says."""
    board = _dashboard(state, call)
    return value([{"dashboardId": board.id, "name": item.name, "widgetId": item.id} for item in board.widgets])


def image(state: State, call: Call) -> Answer:
    """GetDashboardWidgetImage: a PNG of 800 x 600, or what the settings have in its place."""
    widget = next((item for item in _dashboard(state, call).widgets if item.id == call.ids["widget"]), None)
    if widget is None:
        raise RefusedError("100", "No such widget.")
    start, end = _time(call, "startTime"), _time(call, "endTime")
    if start >= end:
        raise RefusedError("100", "startTime must be before endTime.")
    mode = call.query.get("widgetResolutionMode", "AUTO")
    if mode not in ("AUTO", "HIGH"):
        raise RefusedError("100", "widgetResolutionMode must be AUTO or HIGH.")
    settings = state.settings
    kind = settings.image_of.get(widget.id, settings.image)
    match kind:
        case "error":
            return failure(200, "900", "Unexpected Error", "The chart cannot be drawn.", settings)
        case "html":
            return Answer(body=b"<!DOCTYPE html><title>Sign in</title>", content_type="text/html;charset=UTF-8")
        case "empty":
            return Answer(content_type="image/png")
    drawn = chart(_points(state, call, widget, start, end, mode), start, end, compressed=kind != "large")
    return Answer(body=drawn[: len(drawn) // 2] if kind == "torn" else drawn, content_type="image/png")


_DASHBOARD = "/cw_fea/real/cw/api/chart/dashboard"
ROUTES: Routes = {
    ("GET", _DASHBOARD): ("dashboard", listed),
    ("GET", f"{_DASHBOARD}/{{dashboard}}/widgets"): ("dashboard", widgets),
    ("GET", f"{_DASHBOARD}/{{dashboard}}/widgets/{{widget}}"): ("dashboard", image),
}


def _dashboards(state: State) -> list[Dashboard]:
    if state.settings.dashboards is not None:
        return [Dashboard.of(row) for row in state.settings.dashboards]
    return [Dashboard(id="615f0d2c8e1a4b", name="Sandbox", widgets=tuple(_of_schemas(state.schemas)))]


def _dashboard(state: State, call: Call) -> Dashboard:
    found = next((board for board in _dashboards(state) if board.id == call.ids["dashboard"]), None)
    if found is None:
        raise RefusedError("100", "No such dashboard.")
    return found


def _of_schemas(schemas: Iterable[Schema]) -> Iterator[Widget]:
    """A widget for each metric that has numbers; its id looks like that of the page's sample, bucket_size__<id>."""
    for schema in schemas:
        for item in schema.fields:
            functions = [function for names in item.aggregations.values() for function in names]
            if item.metric and item.data_type != "STRING" and functions:
                number = zlib.crc32(f"{schema.cw_key} {item.name}".encode())
                yield Widget(
                    id=f"{re.sub(r'[^A-Za-z0-9]', '_', item.name)}__{number:08x}",
                    name=f"{item.name} ({schema.product})",
                    cw_key=schema.cw_key,
                    metric=item.name,
                    aggregation="AVG" if "AVG" in functions else functions[0],
                )


def _time(call: Call, name: str) -> int:
    text = call.query.get(name, "")
    # More digits than that are of no calendar; a sign or a fraction is no Unix timestamp.
    if not (text.isascii() and text.isdigit() and len(text) < 15):
        raise RefusedError("100", f"{name} must be milliseconds.")
    return int(text)


def _points(state: State, call: Call, widget: Widget, start: int, end: int, mode: str) -> list[tuple[int, float]]:
    schema = state.schemas.find(widget.cw_key)
    known = schema.find(widget.metric) if schema is not None else None
    if known is None:  # the schema or the metric is gone: an empty chart
        return []
    visible = call.now_ms - state.settings.visible_after * 1000
    rows = [row for row in state.ledger.rows(widget.cw_key) if row.arrived <= visible]
    interval = _interval(known, widget.aggregation, 0 if mode == "HIGH" else (end - start) // MOST_POINTS)
    found = points(rows, known, widget.dimensions, interval=interval, aggregation=widget.aggregation)
    return [point for point in found if start <= point[0] <= end]


def _interval(known: Field, aggregation: str, least: int) -> str:
    """The shortest interval of at least that many ms that the metric is aggregated by, else the longest there is."""
    able = [name for name in INTERVALS if aggregation in known.aggregations.get(name, ())] or ["Min1"]
    return next((name for name in able if INTERVALS[name] >= least), able[-1])
