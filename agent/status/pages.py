"""The pages of the status server, each made from a `View` at the moment it is asked for."""

from __future__ import annotations

import base64
import hashlib
import re
import time
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any

import orjson

from agent.status import metrics, view
from agent.status.server import Answer, Pages
from agent.status.view import View

PAGE = Path(__file__).with_name("page.html").read_bytes()


def pages(shown: View) -> Pages:
    """Path -> page."""
    return {
        "/": lambda: Answer(HTTPStatus.OK, "text/html; charset=utf-8", PAGE, POLICY),
        "/status.json": lambda: _json(view.everything(shown, time.time())),
        "/metrics": lambda: Answer(HTTPStatus.OK, metrics.CONTENT_TYPE, metrics.exposition(view.samples(shown))),
        "/health/live": lambda: _health(view.live, shown),
        "/health/ready": lambda: _health(view.ready, shown),
        "/health/delivery": lambda: _health(view.delivery, shown),
    }


def _json(value: dict[str, Any], status: HTTPStatus = HTTPStatus.OK) -> Answer:
    return Answer(status, "application/json", orjson.dumps(value, default=str, option=orjson.OPT_APPEND_NEWLINE))


def _health(look: Callable[[View], dict[str, Any]], shown: View) -> Answer:
    found = look(shown)
    return _json(found, HTTPStatus.OK if found["ok"] else HTTPStatus.SERVICE_UNAVAILABLE)


def _digest(tag: bytes) -> str:
    inside = re.search(b"<%b>(.*?)</%b>" % (tag, tag), PAGE, re.DOTALL)
    assert inside is not None  # noqa: S101 it is our own file
    return f"'sha256-{base64.b64encode(hashlib.sha256(inside[1]).digest()).decode()}'"


# What the page may do: run its own script, wear its own style, ask this server. Nothing else.
_SOURCES = {
    "default-src": "'none'",
    "connect-src": "'self'",
    "script-src": _digest(b"script"),
    "style-src": _digest(b"style"),
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}
POLICY = (
    ("Content-Security-Policy", "; ".join(f"{name} {source}" for name, source in _SOURCES.items())),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)
