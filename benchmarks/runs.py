"""
One run: a broker, a receiver, a subject between them, a load, and what it took.

A subject's CPU counts from when it has subscribed and settled until all is delivered; its start is apart. What is
lost was acknowledged to the publisher (at QoS 0: sent) and never arrived in a body that was answered 2xx. Latency
is from the publisher's write to that answer, by the wall clock of the one machine.
"""

from __future__ import annotations

import math
import re
import time
from array import array
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import trustme

from benchmarks import programs
from benchmarks.broker import mosquitto
from benchmarks.clouds import other_clouds
from benchmarks.load import Load, Sent, publish
from benchmarks.measure import Usage, growth, machine_busy, metric, rss_watched, usage
from benchmarks.programs import free_port, program, running
from benchmarks.receiver import Arrivals, receiver
from benchmarks.subjects import Place, Subject, datasets

SETTLE_SECONDS = 1.0
QUIET_SECONDS = 20.0  # how long after the last message is sent the last may arrive
AFTER_OUTAGE_SECONDS = 90.0  # the same where a subject may pause for long before it tries again

COMMITS = "agent_spool_commits_total"

_SYNC = re.compile(rb"^\d+ +(\d+\.\d+) f(?:data)?sync\(", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """The receiver is gone for so many seconds, so long after the load has begun."""

    after: float
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What one run took. Rates are over all from the first message sent to the last that arrived."""

    subject: str
    load: dict[str, Any]
    outage: dict[str, Any] | None
    sinks: int
    acknowledged: int
    delivered: int
    lost: int
    duplicates: int
    seconds: float
    cpu_s: float
    cpu_us: float  # per delivered record
    core_percent: float
    broker_us: float
    p50_ms: float
    p99_ms: float
    worst_ms: float
    commits: int | None  # since its start, as this agent counts them
    fsyncs: int | None  # of all kinds; only where strace has counted them
    written: int
    rss_mib: float
    rss_growth_mib: float | None  # None: too short a run to say
    requests: int
    wire_bytes: int
    catch_up_s: float | None  # after the outage, until all that was sent before its end had arrived
    ready_s: float
    start_cpu_s: float
    publisher_cpu_s: float
    receiver_cpu_s: float
    foreign_cpu_s: float  # what others used of this machine meanwhile


def run(
    subject: Subject,
    load: Load,
    *,
    outage: Outage | None = None,
    sinks: int = 1,
    extra_config: str = "",
    clouds: bool = False,
    strace: bool = False,
    beside: Callable[[int], AbstractContextManager[object]] = nullcontext,
    keep: bool = False,
) -> Result:
    """
    Run it once. Raises Missing where a program is not installed, Failed where something broke.

    `sinks` and `extra_config` (TOML) are for this agent: so many sinks of the same kind, each with a dataset of
    its own, and further tables. `clouds` gives it the two other clouds as well. `strace` counts every subject's
    fsyncs, and makes all other figures worthless. `beside(pid)` is entered when the subject is ready and left
    when all is delivered.
    """
    load = replace(load, payload=subject.payload)
    with ExitStack() as stack:
        folder = stack.enter_context(programs.folder("run", keep=keep))
        broker = stack.enter_context(mosquitto(folder, tls=trustme.CA() if load.tls else None))
        far = stack.enter_context(receiver(folder, marker=subject.marker))
        if clouds:
            extra_config += stack.enter_context(other_clouds(folder))
        place = Place(
            folder=folder,
            broker_port=broker.port,
            receiver_port=far.port,
            status_port=free_port(),
            qos=load.qos,
            ca=broker.ca,
            outage=outage is not None,
            sinks=sinks,
            select="mqtt.*" if clouds else "*",
            extra_config=extra_config,
        )
        trace, log, command = folder / "strace.txt", folder / "subject.log", subject.command(place)
        if strace:
            # As a grandchild (-D), so that the subject stays our child, and its CPU its own.
            command = [
                program("strace", "strace"),
                *f"-D -f -qq -ttt -e trace=fsync,fdatasync -o {trace}".split(),
                *command,
            ]
        began = time.monotonic()
        with running(command, log) as process:
            broker.wait_for_subscription(process, log)
            ready_s = time.monotonic() - began
            time.sleep(SETTLE_SECONDS)
            before = _Moment.of(process.pid, broker.pid, far.pid)
            with beside(process.pid), rss_watched(process.pid) as memory:
                if outage is not None:
                    far.go_away(outage.seconds, after=outage.after)
                sent = publish(load, broker.port, folder, broker.ca)
                patience = QUIET_SECONDS if outage is None else AFTER_OUTAGE_SECONDS
                far.wait_for(sent.acknowledged, patience, datasets(sinks))
            after = _Moment.of(process.pid, broker.pid, far.pid)
            # Only now: the page would be in the figures.
            commits = int(metric(place.status_port, COMMITS)) if subject.has_metrics else None
        # What a stopping subject still sends has arrived by now.
        arrived = far.arrived()
        return Result(
            subject=subject.name,
            load=asdict(load),
            outage=asdict(outage) if outage else None,
            sinks=sinks,
            commits=commits,
            fsyncs=_syncs(trace, before.time, after.time) if strace else None,
            requests=arrived.requests,
            wire_bytes=arrived.wire_bytes,
            ready_s=ready_s,
            rss_growth_mib=None if (grown := growth(memory)) is None else grown / 2**20,
            catch_up_s=_catch_up(sent, arrived, before.time + outage.after + outage.seconds) if outage else None,
            **_used(before, after, sent, max(1, arrived.count)),
            **_delivered(sent, arrived, after.subject.cpu_s - before.subject.cpu_s),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Moment:
    """What everybody has used so far."""

    time: float
    subject: Usage
    broker: Usage
    receiver: Usage
    machine_s: float

    @classmethod
    def of(cls, subject: int, broker: int, receiver: int) -> _Moment:
        return cls(
            time=time.time(),
            subject=usage(subject),
            broker=usage(broker),
            receiver=usage(receiver),
            machine_s=machine_busy(),
        )


def _used(before: _Moment, after: _Moment, sent: Sent, records: int) -> dict[str, Any]:
    own, receiver = after.subject.since(before.subject), after.receiver.since(before.receiver)
    broker = after.broker.since(before.broker)
    known_s = own.cpu_s + broker.cpu_s + receiver.cpu_s + sent.cpu_s
    return {
        "cpu_s": own.cpu_s,
        "cpu_us": own.cpu_s / records * 1e6,
        "broker_us": broker.cpu_s / records * 1e6,
        "written": own.written,
        "rss_mib": own.peak_rss / 2**20,
        "start_cpu_s": before.subject.cpu_s,
        "publisher_cpu_s": sent.cpu_s,
        "receiver_cpu_s": receiver.cpu_s,
        "foreign_cpu_s": after.machine_s - before.machine_s - known_s,
    }


def _delivered(sent: Sent, arrived: Arrivals, cpu_s: float) -> dict[str, Any]:
    """The books of one run, record by record."""
    times = arrived.times + array("Q", bytes(8 * max(0, len(sent.times) - len(arrived.times))))
    latencies = sorted((came - went) / 1e6 for went, came in zip(sent.times, times, strict=False) if came) or [0.0]
    seconds = (arrived.last - sent.times[0]) / 1e9 if arrived.count else sent.seconds
    return {
        "acknowledged": sent.acknowledged,
        "delivered": arrived.count,
        "lost": times[: sent.acknowledged].count(0),
        "duplicates": arrived.duplicates,
        "seconds": seconds,
        "core_percent": 100 * cpu_s / seconds,
        "p50_ms": percentile(latencies, 50),
        "p99_ms": percentile(latencies, 99),
        "worst_ms": latencies[-1],
    }


def percentile(ordered: list[float], percent: float) -> float:
    """The smallest of the values that so many per cent do not exceed (nearest rank)."""
    return ordered[max(1, math.ceil(len(ordered) * percent / 100)) - 1]


def _catch_up(sent: Sent, arrived: Arrivals, back: float) -> float:
    """Seconds after the receiver was back until the last record sent before that had come."""
    end = int(back * 1e9)
    before = (came for went, came in zip(sent.times, arrived.times, strict=False) if went <= end)
    return max(0.0, (max(before, default=0) - end) / 1e9)


def _syncs(trace: Path, began: float, ended: float) -> int:
    return sum(began <= float(moment) <= ended for moment in _SYNC.findall(trace.read_bytes()))
