"""A thread of the spool that ends: nothing is acknowledged that is not stored, and whoever asks hears of it."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from spooling import everything, opened, part, records, run, until


class Ended(BaseException):
    """What no handler of errors takes."""


def test_a_writer_that_ends_takes_nothing_in_and_says_so(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = records(2)

    def ends(*_: object) -> int:
        raise Ended

    async def main() -> None:
        async with opened(state) as spool:
            await spool.append([part(data[:1])])
            with monkeypatch.context() as patch:
                patch.setattr(os, "writev", ends)
                waiting = spool.append([part(data[1:])])
                await until(lambda: spool.closed_reason is not None)
            assert not waiting.done()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(spool.alive(), 0.2)
        async with opened(state) as spool:
            assert await everything(spool.lanes["all"]) == ({0: data[0]}, [])
            await spool.append([part(data[1:])])

    run(main)
