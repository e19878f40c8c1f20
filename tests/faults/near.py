"""The near side, as far as it is about brokers and lines; packets, payloads and floods have files of their own."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

from e2e import scene as e2e
from mqtt.scripted_broker import packet, text

from faults import near_gone, near_load, near_packets
from faults.near_line import short_keepalive
from faults.near_plant import FIVE, OLDER, Device, Near, each_time, plant
from faults.rows import fault
from faults.stage import PATIENCE, Stage, wait_for

__all__ = ["near_gone", "near_load", "near_packets"]  # rows of this group, each of which registers itself

RATE = 1000.0  # messages a second, over all sessions
FOUND = "seconds until it was connected again, at most"


@fault("near-broker-killed")
def near_broker_killed(stage: Stage) -> None:
    """
    Mosquitto is ended by SIGTERM, at which it saves what its sessions hold, and started again; twice in a trial.

    By kill -9 it loses what it took since it last saved, and that is its own loss. A device publishes again what was
    not acknowledged, so that the broker itself may have that twice.
    """
    for first in range(0, stage.times, 2):
        _end_broker(stage, min(2, stage.times - first))


def _end_broker(stage: Stage, ends: int) -> None:
    with plant(stage, FIVE, OLDER, stored_once=False) as scene:
        scene.trials = ends
        device, numbers = Device(scene, "device"), range(int(RATE * 1.5 * ends))
        publishing = e2e.Background(lambda: device.publish(numbers, rate=RATE, topic=scene.topic))
        for _ in range(ends):
            time.sleep(stage.rng.uniform(0.1, 0.5))  # the moment is the dice's choice
            with _ended(scene):
                pass
        publishing.result(PATIENCE)
        scene.settle()
        scene.notes |= {"published again": device.again, "redelivered": scene.duplicates()}
        scene.expect("copies that the device did not send", max(0, scene.twice() - device.again), 0)
        scene.expect("sessions lost", scene.said("mqtt session lost"), 0)


@contextlib.contextmanager
def _ended(scene: Near) -> Iterator[None]:
    """Mosquitto is ended, and started again when the block is left; then every session connects once more."""
    before = {each: each.connections for each in scene.lines.values()}
    scene.reachable.clear()
    scene.broker.stop()
    yield
    scene.broker.start()
    scene.reachable.set()
    wait_for("all to connect again", lambda: all(each.connections > before[each] for each in before), PATIENCE)
    scene.subscribed()


@fault("near-session-lost")
@each_time
def near_session_lost(stage: Stage) -> None:
    """What Mosquitto saved is deleted while it is down: it comes back and knows nobody."""
    with plant(stage, FIVE, OLDER) as scene:
        scene.send(range(500), name="before")
        # What had not been handed over by then would be lost with the session: the broker's loss, and not shown here.
        wait_for("all to be stored", lambda: scene.stored() == 500, PATIENCE)
        with _ended(scene):
            for saved in (scene.folder / "broker").glob("mosquitto.db*"):
                saved.unlink()
        scene.send(range(500, 1000), name="after")
        scene.settle()
        for each in scene.sessions:
            scene.expect(f"{each.name}: how often it says so", scene.said("mqtt session lost", each), 1)


@fault("near-silent-line")
@each_time
def near_silent_line(stage: Stage) -> None:
    """
    No packet passes, no FIN, no RST: only a ping that is not answered tells.

    The quick form has MQTT 5 alone, whose brokers may ask for a keepalive of a second; ours is no shorter than 5 s.
    """
    options = 'keepalive = "5s"'
    sessions = [replace(FIVE, options=options), replace(OLDER, options=options)]
    if stage.is_quick:
        sessions = [replace(FIVE, rules=[short_keepalive])]
    with plant(stage, *sessions) as scene:
        numbers = range(int(RATE * (1.5 if stage.is_quick else 9)))
        publishing = e2e.Background(lambda: scene.send(numbers, name="publisher", rate=RATE))
        time.sleep(stage.rng.uniform(0.2, 0.5))  # the moment is the dice's choice
        before = {each: each.connections for each in scene.lines.values()}
        for line in before:
            line.silence()
        began = time.monotonic()
        wait_for(
            "the lines to be found dead", lambda: all(each.connections > before[each] for each in before), PATIENCE
        )
        scene.notes[FOUND] = max(round(time.monotonic() - began, 1), stage.outcome.notes.get(FOUND, 0.0))
        publishing.result(PATIENCE)
        scene.settle()
        for each in scene.sessions:
            scene.expect(f"{each.name}: the cause is named", scene.said("no answer to a ping", each) > 0, True)


class Twin:
    """
    Another client with the same client id: it takes the session over, and acknowledges nothing.

    What a twin acknowledged would be the twin's, by MQTT.
    """

    def __init__(self, port: int, client_id: str, protocol: Literal["5", "3.1.1"]) -> None:
        level, properties = (b"\x05", b"\x05\x11\x00\x01\x51\x80") if protocol == "5" else (b"\x04", b"")
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        # Without "clean": the session is the one that is there. Keepalive 60 s.
        self._socket.sendall(packet(0x10, text("MQTT") + level + b"\x00\x00\x3c" + properties + text(client_id)))
        answer = self._socket.recv(4)
        assert answer[:1] == b"\x20", answer
        assert answer[2:4] == b"\x01\x00", f"no session of {client_id}: {answer!r}"

    def until_thrown_out(self) -> None:
        """Return once the broker has closed this connection, because the other one came back."""
        with self._socket:
            while self._socket.recv(1 << 16):
                pass


@fault("near-taken-over")
@each_time
def near_taken_over(stage: Stage) -> None:
    """Three take-overs in a minute, under load; the third is the one that is named for what it is."""
    with plant(stage, FIVE, OLDER) as scene:
        numbers = range(1000 if stage.is_quick else 5000)
        publishing = e2e.Background(lambda: scene.send(numbers, name="publisher", rate=RATE))
        for _ in range(3):
            twins = [Twin(scene.broker.port, f"edge-{each.name}", each.protocol) for each in scene.sessions]
            for twin in twins:
                twin.until_thrown_out()
            scene.subscribed()
        publishing.result(PATIENCE)
        scene.settle()
        for each in scene.sessions:
            scene.expect(f"{each.name}: lines that name the cause", scene.said("mqtt client id used twice", each), 1)
