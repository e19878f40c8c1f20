"""
Proves that what is sent to a dataset can be found there: one marked event, and a query for it.

The mark stands where a dataset has a column of its own: in the id key where there is one, else in the
record's source, or, of a bare payload, in the field `verify`.
"""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Awaitable, Callable
from secrets import token_hex

import orjson

from agent.errors import Unverified
from agent.http import Answer, quoted
from agent.record import Run, middle

PATIENCE = 180.0  # seconds until Druid has taken an event in, generously
ASK_AGAIN = 2.0

Ask = Callable[[str, bytes], Awaitable[Answer]]  # datasource, body -> answer


def marked_run(mark: str, now_ms: int) -> Run:
    """A single record that carries the mark."""
    record = b'{"ts":%d%b%b}' % (now_ms, middle(f"verify.{mark}", {}), orjson.dumps({"verify": mark}))
    # A segment id that no segment has: random, as theirs are.
    return Run(int(token_hex(8), 16), 0, record, array("I", [len(record)]), now_ms, now_ms)


def datasources(dataset: str) -> list[str]:
    """
    The keys under which a dataset may be queried, the likeliest first.

    They are looked up among the ids and names of datasources; the dataset's own id is one where it is its alias too
    (wire facts: Obsrv, datasets and reading back, 4).
    """
    return [dataset, f"{dataset}_events_druid", f"{dataset}_druid"]


async def found(dataset: str, column: str, value: str, ask: Ask, say: Callable[[str], None]) -> str:
    """The evidence that an event with this value can be queried. Raises Unverified."""
    sql = f'SELECT COUNT(*) AS c FROM "{dataset}" WHERE "{column}" = \'{value}\''  # noqa: S608 - our own mark
    body = orjson.dumps({"id": "api.data.out", "ver": "v2", "ts": "0", "params": {"msgid": value}, "query": sql})
    keys = datasources(dataset)
    asked = f'{column} = "{value}"'
    said = "nothing"
    clock = asyncio.get_running_loop().time
    until = clock() + PATIENCE
    while clock() < until:
        for key in keys:
            answer = await ask(key, body)
            if answer.status in (401, 403):
                raise Unverified(
                    f"the event was taken, but the token may not query ({answer.status}): "
                    "give query_token one with the role general_access"
                )
            if (count := _count(answer)) is not None:
                keys = [key]
                said = f"{count} events"
                if count:
                    return f"{count} event with {asked} in {key}"
            elif answer.status == 404:
                said = "no such datasource (yet)"
            else:
                said = f"{answer.status} {quoted(answer.body)}"
        say(f"asked for {asked}: {said}")
        await asyncio.sleep(ASK_AGAIN)
    raise Unverified(f"the event was taken, but a query for {asked} found {said} within {PATIENCE:.0f} s")


def _count(answer: Answer) -> int | None:
    try:
        count = orjson.loads(answer.body)["result"][0]["c"] if answer.status == 200 else None
    except (ValueError, LookupError, TypeError):
        return None
    return count if isinstance(count, int) else None
