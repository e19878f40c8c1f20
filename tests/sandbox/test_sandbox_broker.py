"""The embedded brokers and the simulated devices: what the devices were told is taken arrives."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import aiomqtt
import psutil
import pytest

from agent.sandbox import broker, devices


@pytest.mark.parametrize("kind", ["iotcore", "amqtt"])
def test_what_a_broker_acknowledges_to_the_devices_reaches_a_subscriber(kind: broker.Kind, tmp_path: Path) -> None:
    got: dict[str, dict[str, Any]] = {}

    async def read(client: aiomqtt.Client) -> None:
        async for message in client.messages:
            reading = json.loads(bytes(message.payload))
            got[reading["uid"]] = reading

    async def main(running: broker.Broker) -> devices.Fleet:
        version = aiomqtt.ProtocolVersion.V5 if running.protocol == "5" else aiomqtt.ProtocolVersion.V311
        port = running.port5 or running.port
        async with aiomqtt.Client("127.0.0.1", port, protocol=version) as client, asyncio.timeout(20):
            await client.subscribe("plant/+/+/state", qos=1)
            reader = asyncio.create_task(read(client))
            async with devices.running(running.port, tmp_path / "log", asyncio.Event(), count=4, rate=200) as fleet:
                while len(fleet.acknowledged) < 100:
                    await asyncio.sleep(0.01)
            while not fleet.acknowledged <= set(got):
                await asyncio.sleep(0.01)
            reader.cancel()
        return fleet

    with broker.embedded(tmp_path / "broker", kind) as running:
        assert running.kind == kind
        fleet = asyncio.run(main(running))
    assert set((tmp_path / "log").read_text().split()) == fleet.acknowledged
    for reading in got.values():
        assert {"uid", "time", "temperature", "humidity", "n"} <= set(reading)
        assert abs(reading["time"] / 1000 - time.time()) < 60
    assert fleet.reconnects == 0


def test_a_message_without_an_acknowledgement_is_sent_again_as_it_was_and_logged_once(tmp_path: Path) -> None:
    seen: list[bytes] = []

    async def forgetful(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A broker that loses its first connection between a message and its acknowledgement."""
        first, _ = await packet(reader)
        assert first == 0x10
        writer.write(b"\x20\x02\x00\x00")
        while True:
            head, body = await packet(reader)
            if head & 0xF0 == 0x30:
                seen.append(body[body.index(b"{") :])
                if len(seen) == 1:
                    break
                at = 2 + int.from_bytes(body[:2], "big")
                writer.write(b"\x40\x02" + body[at : at + 2])
            elif head == 0xE0 or not head:
                break
        writer.close()

    async def packet(reader: asyncio.StreamReader) -> tuple[int, bytes]:
        head = await reader.read(1)
        if not head:
            return 0, b""
        size, shift = 0, 0
        while True:
            (byte,) = await reader.readexactly(1)
            size, shift = size | (byte & 127) << shift, shift + 7
            if not byte & 128:
                return head[0], await reader.readexactly(size)

    async def main() -> devices.Fleet:
        server = await asyncio.start_server(forgetful, "127.0.0.1", 0)
        stop = asyncio.Event()
        async with server:
            port = server.sockets[0].getsockname()[1]
            async with devices.running(port, tmp_path / "log", stop, count=1, rate=50) as fleet, asyncio.timeout(10):
                while len(fleet.acknowledged) < 3:
                    await asyncio.sleep(0.01)
        return fleet

    fleet = asyncio.run(main())
    assert seen[0] == seen[1] != seen[2]
    logged = (tmp_path / "log").read_text().split()
    assert logged[0] == json.loads(seen[0])["uid"]
    assert len(logged) == len(set(logged))
    assert fleet.reconnects == 1


def test_a_broker_ends_with_whoever_started_it_even_by_kill_9(tmp_path: Path) -> None:
    script = (
        "import sys, time\nfrom pathlib import Path\nfrom agent.sandbox import broker\n"
        "with broker.embedded(Path(sys.argv[1])) as running:\n    print(running.pid, flush=True)\n    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        os.kill(parent.pid, signal.SIGKILL)
        child.wait(10)
    assert not child.is_running()


def test_a_broker_that_cannot_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "rumqttd.toml").mkdir()  # in the way of its configuration
    with pytest.raises(broker.NoBrokerError, match=r"rumqttd\.toml"), broker.embedded(tmp_path, "iotcore"):
        pass
