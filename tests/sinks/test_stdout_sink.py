"""The stdout sink: lines or indented text, and no way to hold the agent up."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from far_side import record, run, run_of

from agent.errors import Retryable
from agent.ports import Parcel
from agent.sinks.stdout import Stdout


@contextmanager
def pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Standard output goes into a pipe; gives the end to read from."""
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as end, os.fdopen(writer, "w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        yield end.fileno()
        monkeypatch.undo()


def parcel(sink: Stdout, *records: bytes) -> Parcel:
    return Parcel("id", sink.pack("id", 1, sink.encode(run_of(records))), len(records))


def test_records_are_printed_a_line_each(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> bytes:
        with pipe(monkeypatch) as end:
            sink = Stdout()
            async with sink.open() as send:
                await send(parcel(sink, b'{"a":1}', b'{"b":2}'))
            return os.read(end, 65536)

    assert run(main()) == b'{"a":1}\n{"b":2}\n'


def test_pretty_is_the_same_to_read(monkeypatch: pytest.MonkeyPatch) -> None:
    text = record(b'{"u":18446744073709551616,"f":1.0,"s":"\xec\x98\xa8"}', host="h")

    async def main() -> bytes:
        with pipe(monkeypatch) as end:
            sink = Stdout(format="pretty")
            async with sink.open() as send:
                await send(parcel(sink, text))
            return os.read(end, 65536)

    printed = run(main())
    assert json.loads(printed) == json.loads(text)
    assert b'\n  "ts": 1700000000000' in printed
    assert b"18446744073709551616" in printed
    assert b'"f": 1.0' in printed


def test_a_reader_that_has_gone_is_for_the_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        reader, writer = os.pipe()
        os.close(reader)
        with os.fdopen(writer, "w") as stdout:
            monkeypatch.setattr(sys, "stdout", stdout)
            sink = Stdout()
            async with sink.open() as send:
                with pytest.raises(Retryable, match="Broken pipe") as caught:
                    await send(parcel(sink, b"{}"))
                assert caught.value.operator
            monkeypatch.undo()

    run(main())


def test_a_reader_that_does_not_read_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        with pipe(monkeypatch):
            sink = Stdout()
            async with sink.open() as send:
                task = asyncio.ensure_future(send(parcel(sink, b'{"s":"%b"}' % (b"x" * 300_000))))
                _, pending = await asyncio.wait([task], timeout=0.2)
                assert pending  # the pipe is full
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            # asyncio.run waits for the threads: it ends, so they do.
            async with asyncio.timeout(2):
                await asyncio.get_running_loop().shutdown_default_executor()

    run(main())


def test_writes_that_were_given_up_leave_no_thread_behind_and_mix_with_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> bytes:
        others = set(threading.enumerate())
        with pipe(monkeypatch) as end:
            sink = Stdout()
            async with sink.open() as send:
                for n in range(10):  # nobody reads
                    with pytest.raises(TimeoutError):
                        async with asyncio.timeout(0.02):
                            await send(parcel(sink, b'{"s":"%b"}' % (b"%d" % n * 300_000)))
                assert len(set(threading.enumerate()) - others) == 1
                os.set_blocking(end, False)
                got = bytearray()

                async def read() -> None:
                    while not got.endswith(b"last\n"):
                        try:
                            got.extend(os.read(end, 65536))
                        except BlockingIOError:
                            await asyncio.sleep(0.005)

                async with asyncio.timeout(10), asyncio.TaskGroup() as group:
                    group.create_task(read())
                    await send(parcel(sink, b"x" * 200_000 + b"last"))
            return bytes(got)

    got = run(main())
    assert got.endswith(b"x" * 200_000 + b"last\n")
    # What was written of the others is a piece of each, in their order.
    digits = re.sub(rb"(.)\1*", rb"\1", re.sub(rb"[^0-9]", b"", got))
    assert digits == bytes(sorted(digits))


def test_a_slow_reader_gets_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> int:
        with pipe(monkeypatch) as end:
            sink = Stdout()
            batch = parcel(sink, b'{"s":"%b"}' % (b"x" * 300_000))

            async def read() -> int:
                total = 0
                while total < len(batch.body):
                    total += len(await asyncio.to_thread(os.read, end, 5000))
                return total

            async with sink.open() as send, asyncio.TaskGroup() as group:
                got = group.create_task(read())
                await send(batch)
            return got.result() - len(batch.body)

    assert run(main()) == 0
