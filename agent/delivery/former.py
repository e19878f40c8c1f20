"""Former lanes: closed for good once a sink has drained them."""

from __future__ import annotations

import asyncio

import structlog

from agent.delivery.pulse import Pulse
from agent.delivery.tally import end_of
from agent.spool import Cursor, Spool

log = structlog.get_logger()

CLOSE_AGAIN = 5.0  # a former lane that could not be closed


async def close_former(sink: str, cursors: list[Cursor], spool: Spool, pulse: Pulse) -> None:
    """Take the cursors of former lanes out of `cursors`, each when it is drained; return after the last."""
    for cursor in [each for each in cursors if each.end is not None]:
        while cursor.position < end_of(cursor):
            await pulse.wait()
        await _close(sink, cursor, spool)
        cursors.remove(cursor)
        log.info("former lane drained", sink=sink, lane=cursor.lane.name)


async def _close(sink: str, cursor: Cursor, spool: Spool) -> None:
    said = ""
    while True:
        try:
            await spool.close_cursor(cursor)
        except Exception as error:  # noqa: BLE001 - said; nothing in it waits any more, so nobody is to suffer for it
            if said != (said := repr(error)):
                log.warning("former lane cannot be closed", sink=sink, lane=cursor.lane.name, reason=said)
            await asyncio.sleep(CLOSE_AGAIN)
        else:
            return
