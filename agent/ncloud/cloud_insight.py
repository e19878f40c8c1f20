"""
Cloud Insight's calls, typed: schemas, rows, values, dashboards and their pictures.

The paths, fields and answers are those of the pages named at each call (Ncloud API guide, Management, Cloud Insight).
A read, and what comes to the same when done twice, is repeated for a while; the rest only where it certainly did
nothing (agent.ncloud.asking).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import orjson

from agent.errors import Retryable
from agent.http import Answer, quoted, worded
from agent.ncloud import asking
from agent.ncloud.asking import JSON, Say, Unreadable, quiet, unreadable
from agent.ncloud.gateway import Gateway
from agent.ncloud.points import QUERY_DATA, points
from agent.ncloud.send_data import SEND_DATA, unconfirmed
from agent.ncloud.targets import segment, target

SCHEMA = "/cw_fea/real/cw/api/schema"
DASHBOARDS = "/cw_fea/real/cw/api/chart/dashboard"

Interval = Literal["Min1", "Min5", "Min30", "Hour2", "Day1"]
Aggregation = Literal["AVG", "MAX", "MIN", "SUM", "COUNT"]
Resolution = Literal["auto", "high"]
Fields = Sequence[Mapping[str, Any]]  # FieldDto each

PNG = b"\x89PNG\r\n\x1a\n"
DEEPEST = 16  # a schema has four
_MISSING = (400, 404)  # what is answered for a name that no schema has is not published: these may say it


class Dashboard(NamedTuple):
    """A dashboard of the account."""

    id: str
    name: str


class Widget(NamedTuple):
    """A widget of a dashboard."""

    dashboard: str
    id: str
    name: str


class CloudInsight:
    """
    The service as one account sees it. `say` hears of repeats, and of doubt.

    Every method raises the DeliveryError that a refusal, or no answer, comes to: `Unreadable` where a success holds
    something else than the call promises.
    """

    def __init__(
        self,
        gateway: Gateway,
        say: Say = quiet,
        *,
        patience: float = asking.PATIENCE,
    ) -> None:
        self.gateway = gateway
        self._say = say
        self._asked = partial(asking.asked, gateway, patience=patience, say=say)
        self._fetched = partial(asking.fetched, gateway, patience=patience, say=say)

    async def schema(self, name: str, cw_key: str | None = None) -> dict[str, Any] | None:
        """
        A schema by its product name (GetProductSchema); None where there is none.

        It has `cw_key` (as text), `prodName`, `fields` and `useCustomResource`. What else the service calls `secret`
        goes no further than this.
        """
        try:
            found = await self._asked("GET", target(SCHEMA, {"prodName": name, "cw_key": cw_key}), repeat="safe")
        except Retryable as failure:
            if failure.status not in _MISSING:
                raise
            self._say(f"{failure.reason}; taken for: there is no schema {name}")
            return None
        if not found:
            return None
        if not isinstance(found, dict) or not isinstance(found.get("fields") or [], list):
            raise _unlike("a schema with its fields")
        schema: dict[str, Any] = _without_secret(found)
        if not schema.get("cw_key"):
            if schema.get("fields"):
                raise _unlike("a schema with its cw_key")
            return None
        return {**schema, "cw_key": _key(schema["cw_key"]), "fields": schema.get("fields") or []}

    async def create_schema(self, name: str, fields: Fields, use_custom_resource: bool = False) -> str:
        """
        Make a schema and give its cw_key (CreateCustomSchema).

        What a name that exists comes to is not published: look first. After an `ambiguous` failure, or Unreadable, look
        whether it was made.
        """
        said: dict[str, Any] = {"prodName": name, "fields": list(fields)}
        if use_custom_resource:
            said["useCustomResource"] = True
        made = await self._asked("POST", SCHEMA, said, repeat="unsafe")
        key = made.get("cw_key") if isinstance(made, dict) else made
        if key in (None, ""):
            raise _unlike(f"the cw_key of {name}")
        return _key(key)

    async def update_schema(self, name: str, cw_key: str, fields: Fields) -> None:
        """Give a schema these fields, all of them (UpdateProductSchema): done twice it comes to the same."""
        said = {"prodName": name, "cw_key": cw_key, "fields": list(fields)}
        await self._done("PUT", SCHEMA, said)

    async def delete_schema(self, name: str, cw_key: str) -> None:
        """Remove a schema (DeleteProductSchema). Where it has gone already, the service may say so by an error."""
        await self._done("DELETE", target(SCHEMA, {"prodName": name, "cw_key": cw_key}))

    async def system_schemas(self) -> list[dict[str, Any]]:
        """NAVER's own schemas: `cw_key` and `prodName` of each (GetSystemSchemaKeyList)."""
        found = await self._asked("GET", f"{SCHEMA}/system/list", repeat="safe")
        return [_without_secret(each) for each in _objects(found, "the list of NAVER's own schemas")]

    async def send(self, cw_key: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """
        Send rows of one schema (SendData), in one request.

        A row sent twice counts twice, so it is repeated only where it certainly was not taken. Raises Retryable, too,
        where the status is a success and the result is none.
        """
        said = {"cw_key": cw_key, "data": list(rows)}
        answer: Answer = await self._fetched("POST", SEND_DATA, said, repeat="unsafe")
        if doubt := unconfirmed(f"cw_key {cw_key}", answer):
            raise doubt

    async def query(
        self,
        cw_key: str,
        metric: str,
        dimensions: Mapping[str, str],
        start_ms: int,
        end_ms: int,
        *,
        interval: Interval = "Min1",
        aggregation: Aggregation = "AVG",
        across: Aggregation | None = None,
        name: str = "",
    ) -> list[tuple[int, float]]:
        """
        The values of a metric by their time in ms, the oldest first (QueryData).

        `across`: what several targets become (queryAggregation); `name`: the schema's product name. There is none where
        the schema does not aggregate the metric so.
        """
        said: dict[str, Any] = {"cw_key": cw_key, "metric": metric, "dimensions": dict(dimensions)}
        said |= {"timeStart": start_ms, "timeEnd": end_ms, "interval": interval, "aggregation": aggregation}
        said |= {"queryAggregation": across} if across else {}
        said |= {"productName": name} if name else {}
        found = await self._asked("POST", QUERY_DATA, said, repeat="safe")
        if found is None:
            return []
        if not isinstance(found, list | dict):
            raise _unlike("points of [time, value]")
        return sorted(points(found))

    async def dashboards(self) -> list[Dashboard]:
        """The account's dashboards (GetDashboardList)."""
        found = _objects(await self._asked("GET", DASHBOARDS, repeat="safe"), "a list of dashboards")
        return [Dashboard(_text(each, "id"), str(each.get("name") or "")) for each in found]

    async def widgets(self, dashboard: str) -> list[Widget]:
        """The widgets of a dashboard (GetDashboardWidgetList)."""
        path = f"{DASHBOARDS}/{segment(dashboard)}/widgets"
        found = _objects(await self._asked("GET", path, repeat="safe"), "a list of widgets")
        return [
            Widget(str(each.get("dashboardId") or dashboard), _text(each, "widgetId"), str(each.get("name") or ""))
            for each in found
        ]

    async def image(
        self, dashboard: str, widget: str, start_ms: int, end_ms: int, resolution: Resolution = "auto"
    ) -> bytes:
        """
        A widget's picture, a PNG of 800 x 600 (GetDashboardWidgetImage).

        Raises Unreadable for whatever is no PNG by its first bytes; its Content-Type is not documented.
        """
        path = f"{DASHBOARDS}/{segment(dashboard)}/widgets/{segment(widget)}"
        asks: dict[str, str | int] = {
            "startTime": start_ms,
            "endTime": end_ms,
            "widgetResolutionMode": resolution.upper(),
        }
        # An error is to come as JSON all the same.
        wants = f"image/png, {JSON}"
        answer: Answer = await self._fetched("GET", target(path, asks), repeat="safe", accept=wants)
        if not answer.body.startswith(PNG):
            raise unreadable(answer, "a PNG")
        return answer.body

    async def _done(self, method: str, where: str, value: object = None) -> None:
        """Do it: any success is one, as what these calls answer is not documented."""
        await self._fetched(method, where, value, repeat="safe")


def _unlike(expected: str) -> Unreadable:
    return Unreadable(f"answered without what was asked for: expected {expected}")


def _objects(found: Any, what: str) -> list[dict[str, Any]]:
    if found is None:
        return []
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise Unreadable(f"expected {what}, found {quoted(_json(_without_secret(found)))}")
    return found


def _text(row: Mapping[str, Any], name: str) -> str:
    if row.get(name) in (None, ""):
        raise Unreadable(f"expected an object with {name}, found {quoted(_json(_without_secret(row)))}")
    return str(row[name])


def _json(value: object) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:
        return worded(value).encode(errors="replace")


def _key(value: object) -> str:
    """A cw_key as text: it has 18 digits, which JSON's numbers hold here and not everywhere."""
    text = str(value)
    if isinstance(value, bool) or not (text.isascii() and text.isdigit()):
        raise Unreadable(f"expected a cw_key of digits, found {quoted(_json(value))}")
    return text


def _without_secret(value: Any, depth: int = 0) -> Any:
    """The same without any member `secret`."""
    if depth > DEEPEST:
        raise Unreadable(f"expected at most {DEEPEST} levels of JSON, found more")
    if isinstance(value, dict):
        return {name: _without_secret(each, depth + 1) for name, each in value.items() if name.casefold() != "secret"}
    return [_without_secret(each, depth + 1) for each in value] if isinstance(value, list) else value
