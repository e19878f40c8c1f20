"""What fails or hangs below a delivery: reads of the spool, the threads that all share, a sink that does not open."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import pytest
from farside import FarSide, Post, Reply, far_side
from rig import Rig, capture_logs, rig
from virtual import run, until

from agent.delivery import loop
from agent.errors import Unfit
from agent.ports import Limits, Send
from agent.record import Run
from agent.spool import Cursor, Reader


class Segment:
    """The one segment of the lane, which can be made unreadable (ELOOP: an error that means no damage) and mended."""

    def __init__(self, directory: Path) -> None:
        [self._path] = (directory / "lanes" / "all").glob("*.seg")
        self._aside = directory / "aside"

    def spoil(self) -> None:
        os.rename(self._path, self._aside)
        os.symlink(self._path, self._path)

    def mend(self) -> None:
        os.replace(self._aside, self._path)


async def outlasts_the_trouble(it: Rig, segment: Segment, logs: list[dict[str, object]]) -> None:
    """Mend the segment once its trouble is said and some tries have failed."""
    part = it.health.part("sink", "lake")
    await until(lambda: part.reason.startswith("cannot read the spool"))
    assert part.state == "down"
    await asyncio.sleep(60)  # of the virtual clock: a dozen tries
    assert it.health.overdue() == []
    segment.mend()
    await until(lambda: not part.reason.startswith("cannot read the spool"))
    said = [(log["log_level"], log["event"]) for log in logs if "read" in str(log["event"])]
    assert said == [("warning", "sink cannot read the spool"), ("info", "sink reads the spool again")]
    assert not any(log["log_level"] == "error" for log in logs)


def test_new_batches_wait_while_the_spool_cannot_be_read(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as it:
            await it.put(range(10))
        async with rig(tmp_path) as it, far_side() as far:  # what was written by another run is not in memory
            segment = Segment(tmp_path)
            segment.spoil()
            with capture_logs() as logs:
                delivery = it.delivery(Post(far.port))
                async with it.running(delivery):
                    await outlasts_the_trouble(it, segment, logs)
                    await until(lambda: delivery.queued() == 0)
            assert far.stored == list(range(10))

    run(main())


def test_a_batch_with_a_name_waits_while_the_spool_cannot_be_read(tmp_path: Path) -> None:
    async def main() -> None:
        async with far_side(lambda request: Reply(then="hang")) as far:
            async with rig(tmp_path) as it:
                await it.put(range(10))
                async with it.running(it.delivery(Post(far.port))):
                    await until(lambda: far.requests)
            far.script = lambda request: Reply()
            segment = Segment(tmp_path)
            async with rig(tmp_path) as it:
                segment.spoil()
                with capture_logs() as logs:
                    delivery = it.delivery(Post(far.port))
                    async with it.running(delivery):
                        await outlasts_the_trouble(it, segment, logs)
                        await until(lambda: delivery.queued() == 0)
            assert [request.id for request in far.requests] == [far.requests[0].id] * 2

    run(main())


def test_a_dead_letter_waits_while_the_spool_cannot_be_read(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as it:
            await it.put([1])
        async with rig(tmp_path) as it:  # what was written by another run is not in memory
            segment = Segment(tmp_path)

            @dataclass(frozen=True)
            class Spoiling(Post):
                def encode(self, run: Run) -> bytes:
                    segment.spoil()  # it was read to be encoded; to be buried it is read again
                    raise Unfit({0: "not for me"})

            with capture_logs() as logs:
                delivery = it.delivery(Spoiling(0))
                async with it.running(delivery):
                    part = it.health.part("sink", "lake")
                    await until(lambda: part.reason.startswith("cannot read the spool"))
                    segment.mend()
                    await until(lambda: delivery.queued() == 0)
                    await until(lambda: len(it.letters()) == 1)
            assert [log["event"] for log in logs if log["log_level"] == "error"] == [
                "records refused, kept as dead letters"
            ]

    run(main())


def test_a_former_lane_that_cannot_be_closed_hurts_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with far_side() as far:
            async with rig(tmp_path, sinks=(Reader("lake", "sel-old"),)) as it:
                await it.put(range(20), lane="sel-old")
            async with rig(tmp_path, sinks=(Reader("lake", "all"),)) as it:
                close, failures = it.spool.close_cursor, [ValueError("list.remove"), *[OSError(5, "I/O")] * 2]

                async def failing(cursor: Cursor) -> None:
                    if failures:
                        raise failures.pop(0)
                    await close(cursor)

                monkeypatch.setattr(it.spool, "close_cursor", failing)
                delivery = it.delivery(Post(far.port))
                with capture_logs() as logs:
                    async with it.running(delivery):
                        await until(lambda: len(failures) == 2)
                        await it.put(range(100, 110))
                        await until(lambda: delivery.queued() == 0)
                        await until(lambda: len(it.spool.cursors("lake")) == 1)
            said = [log["reason"] for log in logs if log["event"] == "former lane cannot be closed"]
            assert said == ["ValueError('list.remove')", "OSError(5, 'I/O')"]
            assert far.stored == [*range(20), *range(100, 110)]

    run(main())


@dataclass(frozen=True)
class Hanging(Post):
    """Opens at the second try only, or encodes only when let."""

    kind: ClassVar[str] = "hanging"
    opened: list[int] = field(default_factory=lambda: [1])
    let: threading.Event | None = None

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Send]:
        self.opened.append(1)
        if len(self.opened) == 1:
            await asyncio.Event().wait()
        yield self.send

    def encode(self, run: Run) -> bytes:
        if self.let is not None and b'"n":13,' in run.body:
            self.let.wait(30)
        return super().encode(run)


def test_a_sink_that_hangs_while_it_opens_is_opened_again(tmp_path: Path) -> None:
    async def main() -> None:
        async with rig(tmp_path) as it, far_side() as far:
            await it.put([1])
            delivery = it.delivery(Hanging(far.port, opened=[]))
            part = it.health.part("sink", "lake")
            with capture_logs() as logs:
                async with it.running(delivery):
                    await until(lambda: part.due < time.monotonic() + 2 * loop.LONGEST_SEND)
                    await until(lambda: delivery.queued() == 0, within=2 * loop.LONGEST_SEND, step=5)
            [shut] = [log for log in logs if log["event"] == "sink cannot open"]
            assert shut["reason"] == f"not open within {loop.LONGEST_SEND:.0f} s"
            assert far.stored == [1]

    run(main())


@pytest.mark.parametrize("others", ["idle", "sending"])
def test_a_thread_that_hangs_is_noticed_whatever_else_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, others: str
) -> None:
    monkeypatch.setattr(loop, "LONGEST_SEND", 0.3)
    monkeypatch.setattr(loop, "TICK", 0.05)

    def answers(far: FarSide) -> None:
        # Failing sends beat too, for ever.
        far.script = lambda request: Reply(503) if others == "sending" else Reply()

    async def main() -> None:
        let = threading.Event()
        async with rig(tmp_path) as it, far_side() as far:
            answers(far)
            await it.put([1])
            delivery = it.delivery(Hanging(far.port, limits=Limits(records=1, in_flight=2), let=let))
            try:
                async with it.running(delivery):
                    await until(lambda: far.requests)
                    assert it.health.overdue() == []
                    await it.put([13])
                    await until(it.health.overdue, within=10)
                    far.script = lambda request: Reply()
                    let.set()
                    await until(lambda: not it.health.overdue(), within=10)
                    await until(lambda: delivery.queued() == 0, within=30)
            finally:
                let.set()

    asyncio.run(main())
