"""Which calls there are, and the right that each wants."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from agent.sandbox.ncloud import collecting, managing, reading
from agent.sandbox.ncloud.answers import Answer, RefusedError
from agent.sandbox.ncloud.gateway import Key
from agent.sandbox.ncloud.state import Call, State

Handler = Callable[[State, Call], Answer]

SEND = "/cw_collector/real/data"
DEPRECATED = "/cw_collector/real/"
_QUERY = "/cw_fea/real/cw/api/data/query"
_SCHEMA = "/cw_fea/real/cw/api/schema"
_ROUTES: Mapping[tuple[str, str], tuple[str, Handler]] = {
    ("POST", SEND): ("send", collecting.send),
    ("POST", DEPRECATED): ("send", collecting.send),
    ("POST", _QUERY): ("query", reading.query),
    ("POST", _SCHEMA): ("schema", managing.create),
    ("GET", _SCHEMA): ("schema", managing.get),
    ("PUT", _SCHEMA): ("schema", managing.update),
    ("DELETE", _SCHEMA): ("schema", managing.delete),
    ("GET", f"{_SCHEMA}/system/list"): ("schema", managing.system),
}


def route(method: str, path: str, key: Key) -> tuple[str, Handler]:
    """What answers this path as it stands, character for character, and its right. RefusedError."""
    found = _ROUTES.get((method, path))
    if found is None:
        raise RefusedError("300", f"{method} {path}")
    if found[0] not in key.rights:
        raise RefusedError("210", "Permission denied.")
    return found
