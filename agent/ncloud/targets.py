"""
Request targets: a path with its query, escaped once, so that what is signed is what is sent.

Which form of a reserved character the gateway signs over is not documented. `:` and `/` may stand unescaped in a
query (RFC 3986, section 3.4), and so they do here: then the escaped and the unescaped reading are the same text.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from agent.errors import Rejected


def segment(text: str) -> str:
    """
    One segment of a path, such as an id: percent-encoded UTF-8, unreserved characters as they are.

    Raises Rejected for what no server would take as one: "" and the dots that lead to another path.
    """
    if text in ("", ".", ".."):
        raise Rejected(f'expected an id or a name to stand in a path, found "{text}"')
    return _escaped(text, "")


def target(path: str, query: Mapping[str, str | int | bool | None] | None = None) -> str:
    """
    The target of a request: `path`, made of segments, and the query's parameters in their order.

    A parameter that is None is left out, truth is written `true` or `false`, and an empty query leaves no `?`.
    Raises Rejected where a value is no UTF-8 text.
    """
    parts = [
        f"{_escaped(name, ':/')}={_escaped(_text(value), ':/')}"
        for name, value in (query or {}).items()
        if value is not None
    ]
    return f"{path}?{'&'.join(parts)}" if parts else path


def _text(value: str | int | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _escaped(text: str, kept: str) -> str:
    try:
        return quote(text, safe=kept)
    except UnicodeEncodeError as error:  # half a surrogate pair, as bytes on the command line that are no UTF-8 become
        raise Rejected(f"expected text that UTF-8 can write, found {text!r}") from error
