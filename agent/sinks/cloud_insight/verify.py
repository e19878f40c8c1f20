"""
Proves that rows arrive: sends one with a number nobody else sends, and asks until the service gives it back.

The id dimension has a value of its own, always the same, so that proofs make one target and no more.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Iterator
from typing import Any

import orjson

from agent.errors import Retryable, Unverified
from agent.ncloud import Gateway
from agent.sinks.cloud_insight.feeds import Measure, Table
from agent.sinks.cloud_insight.requests import body
from agent.sinks.cloud_insight.sending import SEND_DATA, unconfirmed

QUERY_DATA = "/cw_fea/real/cw/api/data/query"
TARGET = "telemetry-agent-verify"
WAIT = 180.0  # the service aggregates by the minute; how long that takes is not published
ASK_EVERY = 15.0
# Which of these a schema keeps is its owner's choice, and asked for another one the service answers nothing.
AGGREGATIONS = ("AVG", "MAX", "SUM")


async def verified(gateway: Gateway, table: Table, say: Callable[[str], None], *, wait: float | None = None) -> str:
    """The evidence, in a line. Raises Unverified where the row does not come back, or a DeliveryError."""
    wait = WAIT if wait is None else wait
    schema, measure = table.schema, _numeric(table)
    # A whole number fits every type; up to 2^24 also a float of 32 bits.
    nonce = 1_000_000 + secrets.randbelow(15_000_000)
    dimensions = dict.fromkeys(schema.dimensions, TARGET)
    sent_ms = gateway.clock.now_ms()
    answer = await gateway.call(
        "POST", SEND_DATA, body(schema.key, [orjson.dumps({**dimensions, measure.name: nonce})])
    )
    if doubt := unconfirmed(schema.label, answer):
        raise doubt
    what = f"{measure.name} = {nonce} of {schema.identity} = {TARGET} in {schema.label}"
    say(f"taken: {what}; asking for it, at most {wait:.0f} s")
    asked = {
        "cw_key": schema.key,
        "metric": measure.name,
        "dimensions": dimensions,
        "interval": "Min1",
        "timeStart": sent_ms // 60_000 * 60_000 - 120_000,
    }
    if schema.name.startswith("Custom/"):
        asked["productName"] = schema.name
    began, trouble = time.monotonic(), "no such value"
    while True:
        for aggregation in AGGREGATIONS:
            query = asked | {"aggregation": aggregation, "timeEnd": gateway.clock.now_ms() + 60_000}
            try:
                found = await gateway.call("POST", QUERY_DATA, orjson.dumps(query))
            except Retryable as failure:
                trouble = failure.reason
                break
            for at, value in _points(found.body):
                if abs(value - nonce) < 0.5:
                    seconds = round(time.monotonic() - began)
                    return f"{what}, read back after {seconds} s as the {aggregation} of {at}"
        left = wait - (time.monotonic() - began)
        if left <= 0:
            raise Unverified(
                f"{what} was taken, but not read back within {wait:.0f} s ({trouble}): QueryData was asked for "
                f"{', '.join(AGGREGATIONS)} at Min1; does the schema have that metric and dimension, aggregated so?"
            )
        await asyncio.sleep(min(ASK_EVERY, left))


def _numeric(table: Table) -> Measure:
    found = next((measure for measure in table.measures if measure.type != "STRING"), None)
    if found is None:
        raise Unverified(f"{table.schema.label} has texts alone for metrics: there is no number to ask for")
    return found


def _points(answered: bytes) -> Iterator[tuple[int, float]]:
    """Every [time, value] there is, however they are wrapped: the answer's outer shape is not published."""
    try:
        waiting: list[Any] = [orjson.loads(answered)]
    except orjson.JSONDecodeError:
        return
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            waiting += each.values()
        elif isinstance(each, list):
            if len(each) == 2 and all(isinstance(part, int | float) and not isinstance(part, bool) for part in each):
                yield int(each[0]), float(each[1])
            else:
                waiting += each
