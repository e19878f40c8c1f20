"""Which calls there are, and the right that each wants."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple
from urllib.parse import unquote

from agent.sandbox.ncloud import collecting, dashboards, managing, reading
from agent.sandbox.ncloud.answers import RefusedError
from agent.sandbox.ncloud.flow import calls as flow
from agent.sandbox.ncloud.gateway import Key
from agent.sandbox.ncloud.state import Handler, Routes

SEND = "/cw_collector/real/data"
DEPRECATED = "/cw_collector/real/"
_QUERY = "/cw_fea/real/cw/api/data/query"
_SCHEMA = "/cw_fea/real/cw/api/schema"
ROUTES: Routes = {
    ("POST", SEND): ("send", collecting.send),
    ("POST", DEPRECATED): ("send", collecting.send),
    ("POST", _QUERY): ("query", reading.query),
    ("POST", _SCHEMA): ("schema", managing.create),
    ("GET", _SCHEMA): ("schema", managing.get),
    ("PUT", _SCHEMA): ("schema", managing.update),
    ("DELETE", _SCHEMA): ("schema", managing.delete),
    ("GET", f"{_SCHEMA}/system/list"): ("schema", managing.system),
    **dashboards.ROUTES,
    **flow.ROUTES,
}


class Route(NamedTuple):
    """What answers a request."""

    right: str
    call: Handler
    ids: Mapping[str, str] = MappingProxyType({})  # what stands in the path where the route has {name}


def route(method: str, path: str, key: Key) -> Route:
    """
    What answers this path as it stands, character for character; only what stands for an id is decoded.

    RefusedError where there is no such path, or this key may not.
    """
    found = _find(method, path)
    if found is None:
        raise RefusedError("300", f"{method} {path}")
    if found.right not in key.rights:
        raise RefusedError("210", "Permission denied.")
    return found


def _find(method: str, path: str) -> Route | None:
    if (method, path) in ROUTES:
        return Route(*ROUTES[method, path])
    given = path.split("/")
    for (verb, pattern), (right, call) in ROUTES.items():
        if verb == method and (ids := _ids(pattern.split("/"), given)) is not None:
            return Route(right, call, ids)
    return None


def _ids(pattern: list[str], given: list[str]) -> dict[str, str] | None:
    if len(pattern) != len(given):
        return None
    ids: dict[str, str] = {}
    for wanted, segment in zip(pattern, given, strict=True):
        if wanted.startswith("{") and segment:
            ids[wanted.strip("{}")] = unquote(segment)
        elif wanted != segment:
            return None
    return ids
