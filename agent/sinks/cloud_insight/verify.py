"""
Proves that rows arrive: sends one with a number nobody else sends, and asks until the service gives it back.

Every dimension has a value of its own, always the same, so that proofs make one target and no more. The number is
so small that no rule on the metric ("over 90") fires for that target.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

import orjson

from agent.errors import Retryable, Unverified
from agent.ncloud import Gateway
from agent.ncloud.points import QUERY_DATA, points
from agent.ncloud.send_data import SEND_DATA, body, unconfirmed
from agent.sinks.cloud_insight.feeds import Measure, Table
from agent.sinks.cloud_insight.keys import resolved

TARGET = "telemetry-agent-verify"
WAIT = 180.0  # the service aggregates by the minute; how long that takes is not published
ASK_EVERY = 15.0
# Which of these a schema keeps is its owner's choice, and asked for another one the service answers nothing.
AGGREGATIONS = ("AVG", "MAX", "SUM")


class Nonce(NamedTuple):
    """A number that tells this proof from others."""

    value: float
    text: str  # as it is sent: no exponent
    near: float  # a value read back may be off by so much, which is less than half of what lies between two of them

    @classmethod
    def of(cls, measure: Measure) -> Nonce:
        """One that a metric of that type can hold."""
        if _is_float(measure):
            # 0.0001 to 0.001. As a float of 32 bits it is off by 6e-11 at most.
            text = f"0.000{100_000 + secrets.randbelow(900_000)}"
            return cls(float(text), text, 4e-10)
        # Fits every type. Few of them, but they need to differ from those of the last three minutes alone.
        whole = 1 + secrets.randbelow(49)
        return cls(whole, str(whole), 0.25)


async def verified(gateway: Gateway, table: Table, say: Callable[[str], None], *, wait: float | None = None) -> str:
    """The evidence, in a line. Raises Unverified where the row does not come back, or a DeliveryError."""
    wait = WAIT if wait is None else wait
    schema, measure = table.schema, _numeric(table)
    key, nonce = await resolved(schema.key), Nonce.of(measure)
    dimensions = dict.fromkeys(schema.dimensions, TARGET)
    what = f"{measure.name} = {nonce.text} of {schema.identity} = {TARGET} in {schema.label}"
    say(f"writes one row for a target of its own: {what}")
    row = orjson.dumps({**dimensions, measure.name: orjson.Fragment(nonce.text)})
    answer = await gateway.call("POST", SEND_DATA, body(key, [row]))
    if doubt := unconfirmed(schema.label, answer):
        raise doubt
    say(f"taken; asking for it, at most {wait:.0f} s")
    # Only now may the far side's clock be known.
    since = gateway.clock.now_ms() // 60_000 * 60_000 - 120_000
    asked = {
        "cw_key": key,
        "metric": measure.name,
        "dimensions": dimensions,
        "interval": "Min1",
        "timeStart": since,
    }
    if schema.name.startswith("Custom/"):
        asked["productName"] = schema.name
    began, trouble = time.monotonic(), "no such value"
    while True:
        for aggregation in AGGREGATIONS:
            until = gateway.clock.now_ms() + 60_000
            query = asked | {"aggregation": aggregation, "timeEnd": until}
            try:
                found = await gateway.call("POST", QUERY_DATA, orjson.dumps(query))
            except Retryable as failure:
                trouble = failure.reason
                break
            for at, value in _read(found.body):
                # Two numbers that are no point of that time may stand there, too: a page and a size, say.
                if since <= at <= until and abs(value - nonce.value) < nonce.near:
                    seconds = round(time.monotonic() - began)
                    minute = datetime.fromtimestamp(at / 1000, UTC).astimezone().isoformat(" ", "minutes")
                    return f"{what}, read back after {seconds} s as the {aggregation} of {minute}"
        left = wait - (time.monotonic() - began)
        if left <= 0:
            raise Unverified(
                f"{what} was taken, but not read back within {wait:.0f} s ({trouble}): QueryData was asked for "
                f"{', '.join(AGGREGATIONS)} at Min1; does the schema have that metric and dimension, aggregated so?"
            )
        await asyncio.sleep(min(ASK_EVERY, left))


def _numeric(table: Table) -> Measure:
    """The metric to write: where there is one, a FLOAT, which can hold the smallest number."""
    numbers = [measure for measure in table.measures if measure.type != "STRING"]
    if not numbers:
        raise Unverified(f"{table.schema.label} has texts alone for metrics: there is no number to ask for")
    return next((measure for measure in numbers if _is_float(measure)), numbers[0])


def _is_float(measure: Measure) -> bool:
    """Whether it is a FLOAT; without a type it is one where it gets averages or rates by its own words."""
    if measure.type is None:
        return all(origin.rollup in ("avg", "rate") for origin in measure.origins)
    return measure.type == "FLOAT"


def _read(answered: bytes) -> list[tuple[int, float]]:
    try:
        return list(points(orjson.loads(answered)))
    except orjson.JSONDecodeError:
        return []
