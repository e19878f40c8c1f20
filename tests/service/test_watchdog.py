"""When systemd's watchdog is fed, and when it is not: on a real socket, with real parts."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from children import Manager, manager, run

from agent.service import Watchdog
from agent.stats import Health

LIMIT = 0.3  # seconds; systemd's WATCHDOG_USEC


async def yes() -> bool:
    return True


@asynccontextmanager
async def watching(
    monkeypatch: pytest.MonkeyPatch, health: Health, alive: Callable[[], Awaitable[bool]] = yes
) -> AsyncIterator[tuple[Watchdog, Manager]]:
    with manager() as systemd:
        monkeypatch.setenv("NOTIFY_SOCKET", systemd.address)
        monkeypatch.setenv("WATCHDOG_USEC", str(int(LIMIT * 1e6)))
        monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
        watchdog = Watchdog(health=health, alive=alive)
        task = asyncio.create_task(watchdog.run())
        try:
            yield watchdog, systemd
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def heard(systemd: Manager, timeout: float) -> str | None:
    try:
        return await asyncio.to_thread(systemd.hear, timeout)
    except TimeoutError:
        return None


async def forget(systemd: Manager) -> None:
    """What was said before is of no interest."""
    while await heard(systemd, 0.001) is not None:
        pass


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


def test_it_is_withheld_while_a_part_is_overdue_and_fed_again_after(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        health = Health()
        health.part("collector", "host").beat(within=60)
        stuck = health.part("sink", "lake")
        stuck.beat(within=0.0)
        async with watching(monkeypatch, health) as (watchdog, systemd):
            await until(lambda: watchdog.withheld != "")
            assert watchdog.withheld == "sink lake"
            assert await heard(systemd, 2 * LIMIT) is None
            stuck.beat(within=60)
            assert await heard(systemd, 10) == "WATCHDOG=1"
            assert watchdog.withheld == ""

    asyncio.run(main())


def test_it_is_withheld_while_the_writer_thread_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        answer = asyncio.Event()

        async def alive() -> bool:
            await answer.wait()
            return True

        async with watching(monkeypatch, Health(), alive) as (watchdog, systemd):
            await until(lambda: watchdog.withheld != "")
            assert watchdog.withheld == "spool writer or another of its threads"
            await forget(systemd)
            assert await heard(systemd, 2 * LIMIT) is None
            answer.set()
            assert await heard(systemd, 10) == "WATCHDOG=1"

    asyncio.run(main())


def test_a_writer_that_is_slow_to_answer_is_fed_for_and_one_that_hangs_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        asked: list[float] = []
        answer = asyncio.Event()
        answer.set()

        async def alive() -> bool:
            asked.append(asyncio.get_running_loop().time())
            await answer.wait()
            return True

        async with watching(monkeypatch, Health(), alive) as (watchdog, systemd):
            assert await heard(systemd, 10) == "WATCHDOG=1"
            # A slow fsync: three quarters of the time that systemd gives.
            answer.clear()
            count = len(asked)
            await until(lambda: len(asked) > count)
            fed = asyncio.get_running_loop().time()
            while (now := asyncio.get_running_loop().time()) - asked[-1] < 0.75 * LIMIT:
                if await heard(systemd, LIMIT / 10) is not None:
                    fed = asyncio.get_running_loop().time()
                assert now - fed < 0.75 * LIMIT
            assert watchdog.withheld == ""
            answer.set()
            await until(lambda: len(asked) > count + 1)
            # And one that does not come back until it has been found out.
            answer.clear()
            count = len(asked)
            await until(lambda: len(asked) > count)
            await until(lambda: watchdog.withheld != "")
            assert asyncio.get_running_loop().time() - asked[-1] < 1.9 * LIMIT
            await forget(systemd)
            answer.set()
            began = asyncio.get_running_loop().time()
            assert await heard(systemd, 10) == "WATCHDOG=1"
            assert asyncio.get_running_loop().time() - began < LIMIT / 4

    asyncio.run(main())


def test_what_hangs_is_named_once_and_so_is_its_end() -> None:
    code, _, err = run(
        """
import asyncio
from agent.service import Watchdog, setup_logging
from agent.stats import Health

async def main():
    setup_logging("info", "text")
    health, looks = Health(), 0
    part = health.part("sink", "lake")
    part.beat(within=0.0)
    async def alive():
        nonlocal looks
        looks += 1
        if looks == 5:
            part.beat(within=60)
        return looks < 8
    watchdog = Watchdog(health=health, alive=alive)
    task = asyncio.create_task(watchdog.run())
    while looks < 8:
        await asyncio.sleep(0.01)
    task.cancel()

asyncio.run(main())
""",
        WATCHDOG_USEC="60000",
    )
    assert code == 0, err
    lines = [line.split(maxsplit=1)[1] for line in err.splitlines()]
    assert len(lines) <= 3, err  # the last look may or may not be cut off
    assert lines[0].startswith('error   a part hangs, the watchdog is not fed parts="sink lake"')
    assert lines[1].startswith('warning the part that hung goes on, the watchdog is fed again parts="sink lake"')
