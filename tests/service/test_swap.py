"""The swap of a reload, in this process: what stands in its way, and parts that take long to end."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from agent import supervisor
from agent.config import CollectorTable, Config, SinkTable, load
from agent.ports import Context, Emit, Limits
from agent.sinks.file import File
from agent.supervisor import NotSwapped, Running, SwapUndone, swap

CONFIG = """
[agent]
hostname = "edge"
stop_grace = "1s"
[spool]
directory = "{folder}/state"
[status]
enabled = false
[collectors.me]
type = "self"
interval = "1s"
[sinks.notes]
type = "file"
path = "{folder}/notes"
linger = "10ms"
{more}
"""


def configured(folder: Path, more: str = "") -> Config:
    (folder / "agent.toml").write_text(CONFIG.format(folder=folder, more=more))
    return load([folder / "agent.toml"], {})


@asynccontextmanager
async def agent(config: Config) -> AsyncIterator[Running]:
    stop, running = asyncio.Event(), asyncio.get_running_loop().create_future()

    @asynccontextmanager
    async def beside(each: Running) -> AsyncIterator[None]:
        running.set_result(each)
        yield

    task = asyncio.create_task(supervisor.run(config, stop, beside))
    await asyncio.wait([task, running], return_when=asyncio.FIRST_COMPLETED)
    try:
        yield running.result()
    finally:
        stop.set()
        await task


async def until(condition: Any, seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken(File):
    """A sink that cannot even be asked how much it takes."""

    kind: ClassVar[str] = "broken"

    @property
    def limits(self) -> Limits:
        raise RuntimeError("a plugin's bug")


def test_a_plugin_that_cannot_be_used_is_undone_and_the_former_parts_go_on(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    config = configured(tmp_path)

    async def main() -> None:
        async with agent(config) as running:
            await until(notes.exists)
            table = config.sinks["notes"]
            broken = SinkTable("broken", Broken(path=tmp_path / "never"), table.delivery, table.selection)
            changed = replace(table, plugin=File(path=tmp_path / "other"))
            wanted = replace(config, sinks={"notes": changed, "new": broken})
            with pytest.raises(SwapUndone, match="a plugin's bug"):
                await swap(running, wanted)
            assert running.config is config
            assert list(running.deliveries) == ["notes"]
            assert ("sink", "new") not in running.health.parts
            size = notes.stat().st_size
            await until(lambda: notes.stat().st_size > size)

    asyncio.run(main())


def test_while_the_disk_takes_nothing_readers_cannot_be_swapped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configured(tmp_path)

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    async def main() -> None:
        async with agent(config) as running:
            await until((tmp_path / "notes").exists)
            monkeypatch.setattr(os, "writev", full)
            await until(lambda: running.spool.closed_reason)
            with pytest.raises(NotSwapped, match="stores nothing"):
                await swap(running, configured(tmp_path, 'select = ["self.*"]'))
            monkeypatch.undo()
        assert os.writev is not full

    asyncio.run(main())


@dataclass(frozen=True, slots=True, kw_only=True)
class Slow:
    """A collector that takes its time to end, whatever is asked of it."""

    sampled: ClassVar[bool] = True

    number: int
    ended: asyncio.Event
    working: list[int]

    async def run(self, emit: Emit, context: Context) -> None:
        """Until cancelled, and `ended` is set."""
        self.working.append(self.number)
        try:
            await asyncio.Event().wait()
        finally:
            await self.ended.wait()
            self.working.remove(self.number)


def test_a_part_that_hangs_as_it_ends_holds_up_its_successor_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor.running, "ENDING", 0.2)
    plain = configured(tmp_path)

    async def main() -> None:
        ended, working = asyncio.Event(), list[int]()

        def config(number: int) -> Config:
            table = CollectorTable("slow", Slow(number=number, ended=ended, working=working), {})
            return replace(plain, collectors={**plain.collectors, "slow": table})

        async with agent(config(1)) as running:
            await until(lambda: working == [1])
            await swap(running, config(2))
            await swap(running, config(3))
            assert running.config == config(3)
            assert working == [1], "no two of a name at a time"
            size = (tmp_path / "notes").stat().st_size
            await until(lambda: (tmp_path / "notes").stat().st_size > size)
            ended.set()
            await until(lambda: working == [3])

    asyncio.run(main())


def test_once_it_stops_nothing_is_swapped_any_more(tmp_path: Path) -> None:
    async def main() -> None:
        async with agent(configured(tmp_path)) as running:
            running.stop.set()
            with pytest.raises(NotSwapped, match="stopping"):
                await swap(running, configured(tmp_path, "keep = 1"))

    asyncio.run(main())
