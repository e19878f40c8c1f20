"""
Asking the gateway a question as a person at a terminal does: again for a while, where a repeat does no harm.

    safe      a read, or what comes to the same when done twice: again after anything that may pass
    unsafe    what starts or makes something: again only where the request certainly did nothing, which is
              after 429 and where no connection came about

Which answers pass by themselves is the Ncloud API's table of errors ("API call: error handling"): 429, 503 and 504; a
500 is asked once more and no longer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any, Literal

import orjson

from agent.errors import DeliveryError, Rejected, Retryable, Throttled
from agent.http import Answer
from agent.ncloud.answers import bare, trace_of
from agent.ncloud.gateway import Gateway
from agent.timing import Backoff
from agent.units import format_duration

Repeat = Literal["safe", "unsafe"]
Say = Callable[[str], None]

BACKOFF = Backoff(first=1.0, cap=10.0)
PATIENCE = 60.0  # seconds
MOST = 32 * 1024 * 1024  # bytes of an answer: a list of a thousand jobs, a picture
JSON = "application/json"

_PASSES = frozenset({408, 425, 429, 502, 503, 504})
_jitter = Random()


class Unreadable(Rejected):
    """
    A success by its status whose body is not what the call promises.

    What was asked for may have been done all the same.
    """


def quiet(text: str) -> None:
    """Say nothing of repeats."""


async def asked(
    gateway: Gateway,
    method: str,
    target: str,
    value: object = None,
    *,
    repeat: Repeat,
    patience: float = PATIENCE,
    say: Say = quiet,
    backoff: Backoff = BACKOFF,
    most: int = MOST,
) -> Any:
    """
    The JSON of a success, of whatever type; None where its body is empty.

    `value`: what to send as JSON, None for no body. For at most `patience` seconds it is tried again, after pauses as
    the far side asks for or `backoff` has them, and `say` hears of each. `most`: bytes of an answer.
    Raises the DeliveryError of the last try, and Unreadable for a success that is no JSON, or too long.
    """
    answer = await fetched(
        gateway, method, target, value, repeat=repeat, patience=patience, say=say, backoff=backoff, most=most
    )
    if not answer.body.strip():
        return None
    try:
        return orjson.loads(answer.body)
    except orjson.JSONDecodeError as error:
        raise unreadable(answer, "JSON") from error


async def fetched(
    gateway: Gateway,
    method: str,
    target: str,
    value: object = None,
    *,
    repeat: Repeat,
    patience: float = PATIENCE,
    say: Say = quiet,
    backoff: Backoff = BACKOFF,
    accept: str = JSON,
    most: int = MOST,
) -> Answer:
    """The answer as it came, whose status is a success; the rest as `asked`."""
    body = None if value is None else orjson.dumps(value)
    clock = asyncio.get_running_loop().time
    began, tries, failed = clock(), 0, 0
    while True:
        try:
            answer = await gateway.call(method, target, body, accept=accept, most=most)
        except Retryable as failure:
            failed += failure.status == 500
            if not _may_repeat(failure, repeat) or failed > 1:
                raise
            pause = backoff.delay(tries, _jitter)
            if isinstance(failure, Throttled):
                pause += failure.retry_after
            if clock() + pause - began > patience:
                raise
            tries += 1
            say(f"{failure.reason}; tries again in {format_duration(max(round(pause, 1), 0.1))}")
            await asyncio.sleep(pause)
        else:
            if len(answer.body) >= most:
                raise Unreadable(f"the answer is longer than {most >> 20} MiB", status=answer.status)
            return answer


def unreadable(answer: Answer, expected: str) -> Unreadable:
    """The error for a success whose body is not what was expected, which names what came."""
    came = answer.headers.get("content-type") or "no Content-Type"
    shown = bare(answer.body)
    trace = trace_of(answer.headers)
    text = f"answered {answer.status}, expected {expected}, found {len(answer.body)} bytes ({came})"
    return Unreadable(
        ", ".join(part for part in (f"{text}: {shown}" if shown else text, trace) if part),
        status=answer.status,
        answer=shown,
    )


def _may_repeat(failure: DeliveryError, repeat: Repeat) -> bool:
    if not isinstance(failure, Retryable) or failure.operator:
        return False
    if failure.status == 429:
        return True
    if repeat == "unsafe":
        return failure.status is None and not failure.ambiguous  # no connection came about
    return failure.status is None or failure.status == 500 or failure.status in _PASSES
