"""The sandbox's own paths, /_sandbox/..., for those who run a stand-in as a process: each has tables of its calls."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web

PREFIX = "/_sandbox/"


async def handle(
    request: web.BaseRequest,
    *,
    changes: Mapping[str, Callable[[dict[str, Any]], object]],
    endings: Mapping[str, Callable[[str], None]],
    questions: Mapping[str, Callable[[str], object]],
) -> web.Response:
    """
    Do what a request to one of these paths asks.

    `changes` are for POST and take the object in the body, `endings` are for DELETE and `questions` for GET; these two
    take the rest of the path. An answer is text, a list for one JSON value a line, or any other JSON value. KeyError,
    TypeError or ValueError out of any of them means that it was not understood.
    """
    _, _, what, *others = request.path.split("/")
    rest = "/".join(others)
    try:
        match request.method:
            case "POST" if what in changes:
                told = json.loads(await request.read())
                if not isinstance(told, dict):
                    raise TypeError("an object is wanted")
                changes[what](told)
                return web.Response(status=204)
            case "DELETE" if what in endings:
                endings[what](rest)
                return web.Response(status=204)
            case "GET" if what in questions:
                return _said(questions[what](rest))
            case _:
                return web.Response(status=404, text="no such path; see control.py of this stand-in\n")
    except (KeyError, TypeError, ValueError) as error:
        return web.Response(status=400, text=f"not one of the {what}: {error!r}\n")


def _said(answer: object) -> web.Response:
    match answer:
        case str():
            return web.Response(text=answer)
        case list():
            text = "".join(f"{json.dumps(entry)}\n" for entry in answer)
            return web.Response(text=text, content_type="application/x-ndjson")
        case _:
            return web.Response(text=json.dumps(answer), content_type="application/json")
