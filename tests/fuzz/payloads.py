"""Target `payloads`: any bytes of any format become records, or one dead letter, and never an exception."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from itertools import product
from typing import Any, cast

import orjson

from agent.collectors.mqtt.options import Subscription, Time
from agent.collectors.mqtt.payload import parser
from agent.intake import Intake
from agent.intake.gathered import DEAD_LANE
from agent.options import Selection
from agent.payload import MAX_OBJECTS
from agent.record import MAX_DEPTH, Emission, Stream
from agent.spool import Kind, Spool
from agent.stats import Stats

NOW = 1_795_000_000_000
MAX_RECORD = 64 * 1024
LONGEST_REASON = 500  # characters: says why, and does not repeat the payload

_TIMES = [
    None,
    *(
        Time(key="t", format=form, bad=bad)
        for form, bad in product(("s", "ms", "ns", "rfc3339"), ("arrival", "dead_letter"))
    ),
    Time(key="h.t", format="%Y-%m-%d %H:%M:%S.%f", tz="Asia/Seoul", bad="dead_letter"),
    Time(key="t", format="%d %b %Y %H:%M %z", bad="arrival"),
]
SUBSCRIPTIONS = [
    Subscription(topic="a/b", format="value"),
    Subscription(topic="a/b", format="text"),
    *(Subscription(topic="a/b", tag_keys=keys, time=time) for keys, time in product(((), ("k", "h.k")), _TIMES)),
]


@cache
def _scene() -> tuple[Intake, list[Stream]]:
    # What `take` makes of an emission is looked at, and nothing is stored: so there is no spool behind it.
    intake = Intake(cast("Spool", None), [Selection()], {"host": "edge"}, max_record=MAX_RECORD, stats=Stats())
    streams = [Stream("mqtt.plant", {"topic": "a/b"}, parser(each, lambda: None)) for each in SUBSCRIPTIONS]
    return intake, streams


def payloads(data: bytes) -> None:
    """The first byte chooses the subscription, the second whether a good payload stands beside the others."""
    if len(data) < 2:
        return
    intake, streams = _scene()
    stream = streams[data[0] % len(streams)]
    given = data[2:].split(b"\xfe\xff")[:20]
    beside = [b'{"k":1,"t":1795000000000}'] * (data[1] % 3)
    taken = intake.take(Emission("plant", [stream] * (len(given) + len(beside)), given + beside, NOW))
    records = [record for part in taken.parts if part.kind is Kind.RECORDS for record in part.records]
    letters = [record for part in taken.parts if part.lane == DEAD_LANE for record in part.records]
    assert len(letters) == sum(taken.refused.values())
    assert len(records) == taken.stored
    for record in records:
        _is_sound(record)
    for letter in letters:
        found = _is_sound(letter)
        assert not found["reason"].startswith("bug"), found["reason"]
        assert len(found["reason"]) <= LONGEST_REASON
        assert found["size"] in {len(each) for each in given + beside}
    empty = sum(_is_empty_array(each) for each in given)  # holds no record, and is no mistake
    assert len(records) + len(letters) >= len(given) + len(beside) - empty
    if stream.parse is None:
        _agrees(given, records)


def _is_empty_array(payload: bytes) -> bool:
    return b"".join(payload.split()) == b"[]"


def _is_sound(line: bytes) -> dict[str, Any]:
    """One JSON object on one line, to both judges, nested no deeper than is promised."""
    assert b"\n" not in line
    assert b"\r" not in line
    assert len(line) <= MAX_RECORD + 100 * 1024
    if b"\\u" not in line:  # half a surrogate pair is JSON to one of the two alone
        orjson.loads(line)
    found: dict[str, Any] = json.loads(line, parse_constant=_none_such, parse_int=float)
    assert _depth(line) <= MAX_DEPTH + 1
    return found


def _none_such(name: str) -> None:
    raise AssertionError(f"{name} is not JSON")


def _depth(line: bytes) -> int:
    deepest, waiting = 0, [(json.loads(line, parse_int=float), 1)]
    while waiting:
        value, depth = waiting.pop()
        if isinstance(value, (dict, list)):
            deepest = max(deepest, depth)
            inner = value.values() if isinstance(value, dict) else value
            waiting += ((each, depth + 1) for each in inner)
    return deepest


def _agrees(given: list[bytes], records: list[bytes]) -> None:
    """What a strict reader takes for an object arrives, as it was; and nothing else does."""
    wanted: list[Mapping[str, Any]] = []
    for payload in given:
        try:
            value = orjson.loads(payload)
        except orjson.JSONDecodeError:
            continue
        if isinstance(value, dict) and _depth(payload) <= MAX_DEPTH and len(payload) < MAX_RECORD // 2:
            wanted.append(value)
        elif isinstance(value, list) and value and all(isinstance(each, dict) for each in value):
            wanted += value if len(value) <= MAX_OBJECTS and _depth(payload) <= MAX_DEPTH else []
    fields = [orjson.loads(record)["fields"] for record in records if b"\\u" not in record]
    for value in wanted:
        if "\\u" not in json.dumps(value):
            assert value in fields, f"lost: {value}"


def seeds() -> list[bytes]:
    """Payloads as devices send them, and as no device should, for each subscription."""
    some = (
        b'{"t":1795000000000,"k":"line-1","v":21.50,"n":18446744073709551615}',
        b'{"h":{"t":"2026-11-22 07:08:09.123456","k":2},"a":[1,2,{"b":null}],"t":"2026-11-22T07:08:09Z"}',
        b'[{"v":1,"t":1795000000},{"v":2,"t":1795000000.5}]',
        b'{\r\n  "v": "a\\"b\\\\",\r\n  "w": [1, 2]\r\n}',
        b"21.5",
        b"+007.50e3",
        b"true",
        b'"text"',
        b"null",
        b"",
        b"[]",
        "한국어 \u2028 text".encode(),
        b'{"v":"\\ud800"}',
        b'{"v":1e999}',
        b"[" * 100 + b"]" * 100,
        b'{"v":0e123,"w":"0e1234 \\" "}',
        b'{"v":NaN}',
        b'{"a":1}{"b":2}',
        b'{"v":1}\xfe\xff{"v":2}\xfe\xff[]',
    )
    return [bytes([which, which & 3]) + payload for which in range(len(SUBSCRIPTIONS)) for payload in some]
