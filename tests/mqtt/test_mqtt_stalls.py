"""A password file that hangs costs one thread, and an attempt has time to spare before the watchdog minds."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from pathlib import Path

import pytest
from mqtt_harness import BOTH, Version, collector, eventually, run
from scripted_scene import link, scene

from agent.collectors.mqtt import connecting
from agent.collectors.mqtt.wire import Target
from agent.schema import Secret


def test_a_password_file_that_hangs_costs_one_thread(tmp_path: Path) -> None:
    path = tmp_path / "gone"
    os.mkfifo(path)
    target = Target(
        name="plant",
        host="127.0.0.1",
        port=1,
        client_id="c",
        password=Secret(path=str(path)),
        keepalive=60,
        session_expiry=0,
        receive_maximum=10,
        max_packet=1000,
        coalesce=0,
        connect_timeout=0.02,
    )

    async def main() -> None:
        before = threading.active_count()
        for _ in range(5):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await connecting.prepare(target)
        assert threading.active_count() == before + 1
        path.with_name("new").write_text("word")
        os.close(os.open(path, os.O_WRONLY))
        path.with_name("new").rename(path)
        await eventually(lambda: threading.active_count() == before)
        assert await connecting.prepare(target) == (None, "word")

    run(main())


@pytest.mark.parametrize("version", BOTH)
@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # paho leaves its socket to the collector
def test_between_attempts_there_is_time_to_spare(version: Version) -> None:
    async def main() -> None:
        taken = collector("mqtt://127.0.0.1:1", "t", protocol=version)
        async with taken.running(up=False):
            await eventually(lambda: taken.part.state == "down", "a failed attempt")
            assert taken.part.due - time.monotonic() > 30

    run(main())


@pytest.mark.parametrize("version", BOTH)
def test_what_is_read_at_once_is_bounded_in_bytes_too(version: Version) -> None:
    async def main() -> None:
        async with scene(version) as (broker, taken):
            first = await link(broker, 0)
            payload = b"x" * 50_000
            first.send(*[first.publish(payload, number) for number in range(1, 101)])
            await taken.intake.holds(100)
            most = max(sum(map(len, each.payloads)) for each in taken.intake.emissions)
            assert most <= 256 * 1024 + len(payload)

    run(main())
