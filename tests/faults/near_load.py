"""Payloads that are no records, and more of the good ones than the far side can take."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from e2e import scene as e2e
from processes import AgentProcess
from publisher import state_payload

from faults.near_plant import FIVE, OLDER, Near, each_time, plant
from faults.rows import fault
from faults.stage import PATIENCE, Stage

KIB, MIB = 1024, 1024 * 1024
MESSAGES = 1020
BAD = range(7, MESSAGES, 51)  # numbers of the bad ones; odd, so that they go to every session


def _among_good_ones(scene: Near, bad: Mapping[int, bytes]) -> None:
    """Publish these payloads among good ones, on topics that name them, and hold the dead letters against them."""
    scene.publish(
        range(MESSAGES),
        payload=lambda number: bad[number] if number in bad else state_payload(number),
        topic=lambda number: scene.topic(number) + f"/{e2e.uid(number)}" * (number in bad),
    )
    scene.settle()
    letters = e2e.dead_letters(scene.agent)
    # One of a sink's had become a record, and stood in a batch with good ones.
    scene.expect("whose dead letters these are", {letter["sink"] for letter in letters}, {"intake"})
    found = [letter["tags"]["topic"].rpartition("/")[2] for letter in letters if letter["sink"] == "intake"]
    scene.expect("what they are of", sorted(found), sorted(map(e2e.uid, bad)))
    scene.notes["bad ones in a trial"] = len(bad)


@fault("near-oversized")
@each_time
def near_oversized(stage: Stage) -> None:
    """
    Up to 270 KiB of MQTT 5 and 3 MiB of 3.1.1, where a record may have 256 KiB.

    Under MQTT 5 a broker drops what is above `max_packet` (272 KiB) itself, as it was asked to: that is not shown here.
    """
    with plant(stage, FIVE, OLDER) as scene:
        most = MIB if stage.is_quick else 3 * MIB
        sizes = {n: stage.rng.randrange(257 * KIB, 270 * KIB if n % 2 == 0 else most) for n in BAD}
        _among_good_ones(scene, {number: state_payload(number, size) for number, size in sizes.items()})


GARBAGE: list[Callable[[int], bytes]] = [
    lambda number: b"",
    lambda number: b"   \r\n",
    lambda number: b'{"uid":"m-%d","broken' % number,
    lambda number: b'{"uid":"m-%d"} and more' % number,
    lambda number: b'{"uid":"m-%d"}{"uid":"m-%d"}' % (number, number),
    lambda number: b"{'uid':'m-%d'}" % number,
    lambda number: b'{"uid":"m-%d","value":NaN}' % number,
    lambda number: b'{"uid":"m-%d","value":1e400}' % number,
    lambda number: b'{"uid":"m-%d","text":"\xff\xfe"}' % number,
    lambda number: b'{"uid":"m-%d","text":"a\nb"}' % number,
    lambda number: b'{"uid":"m-%d","text":"\x00"}' % number,
    lambda number: b'{"uid":"m-%d","deep":%s1%s}' % (number, b"[" * 5000, b"]" * 5000),
    lambda number: b'[{"uid":"m-%d"},7]' % number,
    lambda number: b"\xef\xbb\xbf" + b'{"uid":"m-%d"}' % number,
    lambda number: f'{{"uid":"m-{number}"}}'.encode("utf-16-le"),
    lambda number: b"\x1f\x8b\x08\x00" + bytes(range(256)),
    lambda number: b"temperature=%d" % number,
]


@fault("near-garbage")
@each_time
def near_garbage(stage: Stage) -> None:
    """One of each kind, in any order, and bytes out of a hat."""
    with plant(stage, FIVE, OLDER) as scene:
        kinds = [*GARBAGE, *[lambda number: b"\x80" + stage.rng.randbytes(number % 300)] * (len(BAD) - len(GARBAGE))]
        stage.rng.shuffle(kinds)
        _among_good_ones(scene, {number: kind(number) for number, kind in zip(BAD, kinds, strict=True)})


PUBLISHERS = 5
PAD = 16 * KIB  # so that what an agent may not let in is far above the bound below
SPOOL = 4 * MIB
# What it may need above what it has at rest. Of messages: 1 MiB between socket and disk, which is there as payloads, as
# records and as a group being written, and four batches of 512 KiB on their way, with what they are packed from and
# into; the rest is threads and the allocator. Seen: 14 MiB; 67 MiB where it reads without bound.
MOST = 24 * MIB


@fault("near-flood")
@each_time
def near_flood(stage: Stage) -> None:
    """
    The spool is small, and may not drop anything: once it is full, the broker has to keep what comes.

    Then the agent is killed, with whatever it has read and not stored; it comes back, and the far side is well again.
    """
    session = (FIVE, OLDER)[stage.scenes % 2]  # in turn
    each, patience = (250, PATIENCE) if stage.is_quick else (2000, 5 * PATIENCE)
    with plant(stage, session, spool={"max_bytes": SPOOL}, sink='on_full = "block"', timeout="5s") as scene:
        at_rest = _memory(scene.agent, "VmRSS")
        scene.cloud.fault("slow", seconds=4)
        floods = [
            scene.publishing(
                range(number * each, (number + 1) * each),
                name=f"flood-{number}",
                payload=lambda number: state_payload(number, PAD),
                topic=session.topic,
            )
            for number in range(PUBLISHERS)
        ]
        for flood in floods:
            flood.result(patience)
        taken = int(e2e.metric(scene.agent, "agent_intake_committed_total"))
        peak = _memory(scene.agent, "VmHWM")
        scene.agent.kill()
        scene.cloud.heal()
        scene.agent.start()
        scene.settle(patience, stop=False)
        peak = max(peak, _memory(scene.agent, "VmHWM"))
        scene.expect("the agent's exit status", scene.agent.stop(), 0)
        waiting = PUBLISHERS * each - taken
        scene.expect("more at the broker than the spool can hold", waiting * PAD > SPOOL, True)
        scene.expect(f"at most {MOST >> 20} MiB above what it had at rest", peak - at_rest <= MOST, True)
        scene.notes |= {
            f"MiB at rest, MQTT {session.protocol}": round(at_rest / MIB, 1),
            f"MiB at most, MQTT {session.protocol}": round(peak / MIB, 1),
            f"messages waiting at the broker, MQTT {session.protocol}": waiting,
        }


def _memory(agent: AgentProcess, name: str) -> int:
    """Resident bytes of the process: VmRSS as it is, VmHWM the most so far."""
    assert agent.child is not None
    for line in Path(f"/proc/{agent.child.pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * KIB
    raise LookupError(f"the kernel does not tell {name}")
