"""Packets that are lost, cut, malformed or lie, between the agent and a real broker that means no harm."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from mqtt.mqtt_harness import publisher
from mqtt.scripted_broker import packet, text
from publisher import state_payload

from faults.near_line import (
    CONNACK,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
    SUBACK,
    Cut,
    Once,
    lost,
    short_keepalive,
)
from faults.near_plant import FIVE, OLDER, Near, Session, each_time, plant
from faults.rows import fault
from faults.stage import PATIENCE, Stage, wait_for

IN_FLIGHT = 400  # messages whose acknowledgements are lost, for each session


@fault("near-dup")
@each_time
def near_dup(stage: Stage) -> None:
    """No PUBACK arrives, then the connection breaks: the broker has to send all of it again."""
    with plant(stage, FIVE, OLDER) as scene:
        for line in scene.lines.values():
            line.rules = [_without_acknowledgements]
        sent = range(IN_FLIGHT * len(scene.sessions))
        scene.send(sent, name="in-flight")
        wait_for("all to be stored", lambda: scene.stored() == len(sent), PATIENCE)
        for line in scene.lines.values():
            line.rules = []
            line.cut()
        wait_for("all to be sent again", lambda: scene.duplicates() >= len(sent), PATIENCE)
        scene.send(range(len(sent), len(sent) + 200), name="after")
        _ended(scene, (len(sent) + 200) // len(scene.sessions))
        scene.settle()
        scene.expect("messages sent again with DUP", scene.duplicates(), len(sent))


def _ended(scene: Near, messages: int) -> None:
    """So many messages of each session have their last acknowledgement: the broker has nothing left to send again."""
    wait_for(
        "the last acknowledgements", lambda: all(line.ended >= messages for line in scene.lines.values()), PATIENCE
    )


def _without_acknowledgements(packet: bytes, down: bool) -> bytes:
    return b"" if packet[0] >> 4 == PUBACK and not down else packet


# Where a handshake of QoS 2 is cut, and what of QoS 1 takes its place under MQTT 3.1.1, where QoS 2 is asked for as 1.
STEPS = [("publish", PUBLISH), ("pubrec", PUBREC), ("pubrel", PUBREL), ("pubcomp", PUBCOMP)]
OLDER_STEPS = [("publish", PUBLISH), ("puback", PUBACK)]


@fault("near-qos2")
@each_time
def near_qos2(stage: Stage) -> None:
    """
    A session for each step; the packet of that step is lost together with the connection, somewhere in the middle.

    Under MQTT 3.1.1 QoS 2 is asked for as QoS 1 (docs/decisions/005): what is shown there are its two steps.
    """
    each = 100
    cuts = {
        f"{step}-{protocol}": (protocol, Once(kind, stage.rng.randrange(1, each), lost))
        for protocol, steps in (("5", STEPS), ("3.1.1", OLDER_STEPS))
        for step, kind in steps
    }
    sessions = [
        Session(name.replace(".", ""), protocol, qos=2, rules=[cut])  # type: ignore[arg-type]
        for name, (protocol, cut) in cuts.items()
    ]
    with plant(stage, *sessions) as scene:
        _publish_qos2(scene, range(each * len(sessions)))
        wait_for("every step to be cut, and what comes after", lambda: _came_back(scene), PATIENCE)
        _ended(scene, each)
        scene.settle()


def _came_back(scene: Near) -> bool:
    return all(line.connections > 1 for line in scene.lines.values())


def _publish_qos2(scene: Near, numbers: range) -> None:
    """By paho; its messages count as acknowledged once they are complete."""
    with publisher(scene.broker.port, "3.1.1") as device:
        for topic in sorted({scene.topic(number) for number in numbers}):
            mine = [number for number in numbers if scene.topic(number) == topic]
            device.send(topic, *map(state_payload, mine), qos=2)
    folder = scene.folder / "ids"
    folder.mkdir()
    (folder / "paho").write_text("".join(f"{number}\n" for number in numbers))


@dataclass(frozen=True, slots=True)
class Bad:
    """Something that no broker should send: what becomes of the packet that it meets."""

    what: str
    deed: Callable[[bytes], bytes]
    meets: int = PUBLISH
    protocols: Sequence[Literal["5", "3.1.1"]] = ("5", "3.1.1")


def _before(*bad: bytes) -> Callable[[bytes], bytes]:
    """These come before the packet."""
    return lambda raw: b"".join(bad) + raw


def _said_longer(bad: bytes, by: int) -> bytes:
    """The packet with a length that reaches into what follows (or, negative, ends before it does)."""
    return bytes([bad[0], bad[1] + by]) + bad[2:]


_UNASKED = packet(0x30, text("nobody/asked") + b"\x00" + b"y" * 40)

BAD = (
    Bad("no such type", _before(b"\x00\x00")),
    Bad("a type of the other version, or of none", _before(b"\xf0\x00")),
    Bad("a length of five bytes", _before(b"\x30\xff\xff\xff\xff\x01")),
    Bad("256 MB announced", _before(b"\x30\xff\xff\xff\x7f")),
    Bad("12 MB announced and never sent", _before(b"\x30\x80\x80\x80\x06"), protocols=["5"]),
    Bad("a PUBLISH of nothing", _before(b"\x30\x00")),
    Bad("half a topic length", _before(b"\x30\x01\x00")),
    Bad("a topic longer than its packet", _before(packet(0x30, b"\x00\xffx"))),
    Bad("a topic that is not UTF-8", _before(packet(0x30, b"\x00\x02\xff\xfe\x00"))),
    Bad("QoS 3", _before(packet(0x36, text("nobody/asked") + b"\x00\x01\x00x"))),
    Bad("no room for a packet id", _before(packet(0x32, b"\x00\x01x"))),
    Bad("a packet id of 0", _before(packet(0x32, text("nobody/asked") + b"\x00\x00\x00x"))),
    Bad("a topic with wildcards", _before(packet(0x30, text("nobody/+/#") + b"\x00x"))),
    Bad("a length that swallows the next packet", _before(_said_longer(_UNASKED, 50))),
    Bad("a length that ends too soon", _before(_said_longer(_UNASKED, -20), b"\xff" * 8)),
    Bad("a PUBREL of nothing", _before(b"\x62\x00")),
    Bad("a SUBACK of nothing", _before(b"\x90\x00")),
    Bad("a PINGRESP with a body", _before(b"\xd0\x02\x00\x00")),
    Bad("a PINGREQ, to a client", _before(b"\xc0\x00")),
    Bad("a CONNECT, to a client", _before(packet(0x10, text("MQTT") + b"\x04\x02\x00\x3c" + text("x")))),
    Bad("a second CONNACK, without session", _before(b"\x20\x02\x00\x00"), protocols=["3.1.1"]),
    Bad("a second CONNACK, with the session", _before(b"\x20\x02\x01\x00"), protocols=["3.1.1"]),
    Bad("a second CONNACK", _before(b"\x20\x03\x01\x00\x00"), protocols=["5"]),
    Bad("properties longer than the packet", _before(packet(0x30, text("nobody/x") + b"\x7fx")), protocols=["5"]),
    Bad("an unknown property", _before(packet(0x30, text("nobody/x") + b"\x02\x7e\x00x")), protocols=["5"]),
    Bad("a topic alias", _before(packet(0x30, text("") + b"\x03\x23\x00\x07x")), protocols=["5"]),
    Bad("cut off in the fixed header", lambda raw: Cut(raw[:1])),
    Bad("cut off in the middle", lambda raw: Cut(raw[: len(raw) // 2])),
    Bad("a CONNACK cut off", lambda raw: Cut(raw[:2]), CONNACK),
    Bad("a CONNACK that announces more than comes", lambda raw: b"\x20\x7f" + raw[2:], CONNACK),
    Bad("a CONNACK with flags that are none", lambda raw: raw[:2] + b"\xfe" + raw[3:], CONNACK),
    Bad("a SUBACK without a code", lambda raw: packet(0x90, raw[2:-1]), SUBACK),
    Bad("a SUBACK with a code too many", lambda raw: packet(0x90, raw[2:] + b"\x01"), SUBACK),
    Bad("a SUBACK with a code that is none", lambda raw: raw[:-1] + b"\x7f", SUBACK),
    Bad("a SUBACK for something else", lambda raw: b"\x90" + raw[1:2] + b"\x77\x77" + raw[4:], SUBACK),
)
AT_ONCE = 12  # sessions of one agent
EACH = 60  # messages for each


@fault("near-malformed")
def near_malformed(stage: Stage) -> None:
    """A session for each kind of malice; the quick form has five kinds for each version of MQTT, drawn by lot."""
    kinds = [(protocol, bad) for protocol in ("5", "3.1.1") for bad in BAD if protocol in bad.protocols]
    if stage.is_quick:
        kinds = [
            kind
            for protocol in ("5", "3.1.1")
            for kind in stage.rng.sample([kind for kind in kinds if kind[0] == protocol], 5)
        ]
    for _ in range(stage.times):
        for first in range(0, len(kinds), AT_ONCE):
            _suffer(stage, kinds[first : first + AT_ONCE])
    stage.outcome.notes["kinds"] = len(kinds)


def _suffer(stage: Stage, kinds: Sequence[tuple[Literal["5", "3.1.1"], Bad]]) -> None:
    deeds = [
        Once(bad.meets, stage.rng.randrange(1, EACH // 2) if bad.meets == PUBLISH else 1, bad.deed) for _, bad in kinds
    ]
    sessions = [
        Session(
            f"s{number:02d}",
            protocol,
            options='connect_timeout = "1s"',  # where an answer never comes, that is soon said
            rules=[deed, short_keepalive] if protocol == "5" else [deed],
        )
        for number, ((protocol, _), deed) in enumerate(zip(kinds, deeds, strict=True))
    ]
    with plant(stage, *sessions) as scene:
        scene.trials = len(kinds)
        scene.send(range(EACH * len(sessions)), name="publisher")
        scene.settle()
        for (protocol, bad), deed in zip(kinds, deeds, strict=True):
            scene.expect(f"{bad.what} (MQTT {protocol}) was sent", deed.done, True)
