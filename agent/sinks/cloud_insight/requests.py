"""
A batch's data: the finished bodies of requests, a line each, and last what did not become part of any.

    {"cw_key":"...","data":[{...},{...}]}
    #{"unused":{"mqtt.plant":12},"lacking":{},"unfit":{}}
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec
import orjson

from agent.ncloud.send_data import body
from agent.sinks.cloud_insight.rows import Left, Values

NOTE = b"#"

_request = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_rows = msgspec.json.Decoder(list[msgspec.Raw]).decode
_note = msgspec.json.Decoder(dict[str, dict[str, int]]).decode


class Request(NamedTuple):
    """One request: whose rows, and the rows as they are written."""

    cw_key: str
    rows: Sequence[bytes]


class Content(NamedTuple):
    """A batch's data, read again."""

    requests: Sequence[Request]
    left: Mapping[str, Mapping[str, int]]


def lines(cw_key: str, rows: Iterable[Values], *, max_rows: int, max_bytes: int) -> Iterator[bytes]:
    """The bodies of as few requests as their limits allow; a row that is too large by itself goes alone."""
    waiting: list[bytes] = []
    empty = len(body(cw_key, ()))
    size = empty
    for row in rows:
        written = orjson.dumps(row)
        if waiting and (len(waiting) >= max_rows or size + len(written) + 1 > max_bytes):
            yield body(cw_key, waiting)
            waiting, size = [], empty
        waiting.append(written)
        size += len(written) + 1
    if waiting:
        yield body(cw_key, waiting)


def data(requests: Iterable[bytes], left: Left) -> bytes:
    """The data of a batch. Nothing at all where its records give no row and all of them were used."""
    written = list(requests)
    if left:
        named = {"unused": left.unused, "lacking": left.lacking, "unfit": left.unfit}
        written.append(NOTE + orjson.dumps(named, option=orjson.OPT_SORT_KEYS))
    return b"\n".join(written)


def content(written: bytes) -> Content:
    """What `data` has written."""
    requests, left = [], {}
    for line in written.split(b"\n"):
        if line.startswith(NOTE):
            left = _note(line[1:])
        elif line:
            found = _request(line)
            requests.append(
                Request(bytes(found["cw_key"]).strip(b'"').decode(), [bytes(row) for row in _rows(found["data"])])
            )
    return Content(requests, left)
