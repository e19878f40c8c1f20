"""
A backlog: how much memory draining it takes, and how soon a fresh record arrives at a sink that starts with the newest.

    python -m benchmarks.backlog [--gigabytes 10] [--for 60s] [--folder FOLDER]

The backlog is built through the agent's own spool, without syncs. Then an agent with two sinks, `lake` and `fresh`,
runs twice: on an empty state directory, doing nothing, and on the full one, where `lake` drains what is there and
`fresh`, which has `start = "newest"`, gets what is published meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from rich.console import Console

from agent.spool import Part, Reader, Settings, Spool
from agent.stats import Health, Stats
from agent.units import parse_duration
from benchmarks import table
from benchmarks.broker import Broker, mosquitto
from benchmarks.load import Load, publish
from benchmarks.measure import rss, usage
from benchmarks.programs import BUILD, Failed, Missing, free_port, module, running
from benchmarks.receiver import Receiver, receiver

GB, MIB = 10**9, 1 << 20
SIZE = 250  # bytes of a record
BATCH = 500  # records of one append
AHEAD = 16  # appends on their way at the same time
ON_DISK = 1.05  # frames and columns around the records
SPARE = 2 * GB  # of free disk: the agent leaves up to 512 MiB, and others live here too
SETTLE = 5.0  # seconds until an agent with nothing to do has come to rest
FRESH = Load(count=10, qos=1, rate=1)
LEAST_SECONDS = FRESH.count / FRESH.rate + 5  # the fresh ones, and some time before and after them

GROWTH_TARGET, FRESH_TARGET = 20 * MIB, 2.0

CONFIG = """\
[spool]
directory = "{state}"
max_bytes = {max_bytes}

[status]
listen = "127.0.0.1:{status_port}"

[collectors.line]
type = "mqtt"
url = "mqtt://127.0.0.1:{broker_port}"
subscription = [{{ topic = "plant/line7/#", qos = 1 }}]

[sinks.lake]
type = "obsrv"
url = "{url}"
dataset = "lake"

[sinks.fresh]
type = "obsrv"
url = "{url}"
dataset = "fresh"
start = "newest"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of it; memory in bytes, latencies in seconds."""

    records: int
    bytes: int
    built_mb_s: float
    start_s: float  # from the start of the process on the full spool to its subscription
    drained: float  # the share of the records that arrived in that time
    drained_s: float
    records_s: float
    cpu_micros: float  # a drained record; start and an idle agent's are not in it
    idle_rss: int
    peak_rss: int
    fresh: int  # how many of the fresh records arrived
    fresh_median_s: float
    fresh_most_s: float

    @classmethod
    def kept(cls, row: table.Row) -> Outcome:
        """Out of its row in the results."""
        return cls(**{each.name: row[each.name] for each in fields(cls)})

    @property
    def growth(self) -> int:
        """Memory that draining took."""
        return self.peak_rss - self.idle_rss


def measure(gigabytes: float, seconds: float, parent: Path, say: Callable[[str], None]) -> Outcome:
    """Build a backlog in a folder under `parent`, drain it for so long, and take everything away again."""
    size = int(gigabytes * GB)
    _require_room(parent, size)
    with tempfile.TemporaryDirectory(prefix="backlog-", dir=parent) as name:
        folder = Path(name)
        with receiver(folder) as far, mosquitto(folder) as broker:
            say("an agent with an empty spool")
            with _agent(folder, "empty", size, broker, far) as process:
                time.sleep(SETTLE)
                idle, idle_rss = usage(process.pid), rss(process.pid)
            say(f"building {gigabytes:g} GB")
            begun = time.monotonic()
            records = asyncio.run(_build(folder / "full", size))
            built = time.monotonic() - begun
            os.sync()  # or it is written while we measure
            say(f"built at {size / built / 1e6:.0f} MB/s; draining for {seconds:g} s")
            begun = time.monotonic()
            with _agent(folder, "full", size, broker, far) as process:
                started = time.monotonic() - begun
                # Half of the time has gone before fresh records come: nothing of the start is left in them.
                time.sleep(max(0.0, (seconds - FRESH.count / FRESH.rate) / 2))
                sent = publish(FRESH, broker.port, folder)
                time.sleep(max(0.0, seconds - (time.monotonic() - begun)))
                used = usage(process.pid)
                lake, fresh = far.arrived("lake"), far.arrived("fresh")
    late = [(there - here) / 1e9 for here, there in zip(sent.times, fresh.times, strict=False) if there]
    old = [moment for moment in lake.times[FRESH.count :] if moment]
    if not old:
        raise Failed(f"nothing of the backlog has arrived within {seconds:g} s: --for longer, or a smaller one")
    # From the first batch to the last: the whole may have been drained before the time was up.
    drained_s = (max(old) - min(old)) / 1e9
    return Outcome(
        records=records,
        bytes=size,
        built_mb_s=size / built / 1e6,
        start_s=started,
        drained=len(old) / records,
        drained_s=drained_s,
        records_s=len(old) / drained_s,
        cpu_micros=(used.cpu_s - idle.cpu_s) / len(old) * 1e6,
        idle_rss=idle_rss,
        peak_rss=used.peak_rss,
        fresh=len(late),
        fresh_median_s=statistics.median(late) if late else float("inf"),
        fresh_most_s=max(late, default=float("inf")),
    )


def _require_room(parent: Path, size: int) -> None:
    parent.mkdir(parents=True, exist_ok=True)
    free, needed = shutil.disk_usage(parent).free, int(size * ON_DISK) + SPARE
    if free < needed:
        raise Failed(
            f"{parent}: {free / GB:.1f} GB free, {needed / GB:.1f} GB needed for a backlog of {size / GB:g} GB:"
            " make room, or give a smaller --gigabytes or another --folder"
        )


def _max_bytes(size: int) -> int:
    return int(size * ON_DISK) + GB  # nothing is to be evicted


@contextmanager
def _agent(folder: Path, state: str, size: int, broker: Broker, far: Receiver) -> Iterator[subprocess.Popen[bytes]]:
    """An agent on that state directory that has subscribed."""
    config, log = folder / f"{state}.toml", folder / f"{state}.log"
    config.write_text(
        CONFIG.format(
            state=folder / state,
            max_bytes=_max_bytes(size),
            status_port=free_port(),
            broker_port=broker.port,
            url=far.url,
        )
    )
    before = broker.subscriptions()
    with running(module("agent", "run", "--config", str(config)), log) as process:
        broker.wait_for_subscription(process, log, count=before + 1)
        yield process


async def _build(directory: Path, size: int) -> int:
    """A spool whose sink `lake` has taken nothing yet; how many records wait in it."""
    # Its numbers follow those of the fresh ones: the receiver tells records by them.
    first, count = FRESH.count, size // SIZE
    head = b'{"ts":%d,"source":"mqtt.line","tags":{"host":"bench","topic":"plant/line7/dev"},"fields":{"seq":' % (
        time.time_ns() // 1_000_000
    )
    tail = b',"pad":"%b"}}' % (b"x" * (SIZE - len(head) - len(str(count)) - len(b',"pad":""}}')))
    settings = Settings(directory=directory, durability="none", max_bytes=_max_bytes(size), min_free_bytes=0)
    part = Health().part("spool", "writer")
    under_way: deque[asyncio.Future[None]] = deque()
    async with Spool.open(settings, [Reader("lake", "all")], version="bench", part=part, stats=Stats()) as spool:
        for at in range(first, first + count, BATCH):
            numbers = range(at, min(at + BATCH, first + count))
            records = [b"%b%d%b" % (head, number, tail) for number in numbers]
            under_way.append(spool.append([Part("all", "line", records, time.time_ns() // 1_000_000)]))
            if len(under_way) > AHEAD:
                await under_way.popleft()
        await spool.flush()
    return count


def markdown(outcome: Outcome) -> str:
    """It as a table."""
    rows = {
        "backlog": f"{outcome.records:,} records, {outcome.bytes / GB:g} GB, built at {outcome.built_mb_s:.0f} MB/s",
        "start on it": f"{outcome.start_s:.2f} s to the subscription",
        "drained": f"{outcome.drained:.1%} in {outcome.drained_s:.0f} s: {outcome.records_s:,.0f} records/s,"
        f" {outcome.cpu_micros:.1f} µs of CPU each",
        "RSS idle, peak": f"{outcome.idle_rss / MIB:.1f}, {outcome.peak_rss / MIB:.1f} MiB",
        "RSS growth": f"{outcome.growth / MIB:.1f} MiB (≤ {GROWTH_TARGET / MIB:g}"
        f"{'' if outcome.growth <= GROWTH_TARGET else ', missed'})",
        'fresh records, `start = "newest"`': f"{outcome.fresh} of {FRESH.count} arrived after"
        f" {outcome.fresh_median_s:.2f} s, {outcome.fresh_most_s:.2f} s at most (≤ {FRESH_TARGET:g}"
        f"{'' if outcome.fresh_most_s <= FRESH_TARGET else ', missed'})",
    }
    return "\n".join(["| backlog | |", "|---|---|", *(f"| {name} | {text} |" for name, text in rows.items()), ""])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.backlog", description=__doc__.partition("\n\n")[0])
    parser.add_argument("--gigabytes", type=float, default=10.0, help="of records on disk")
    parser.add_argument(
        "--for", type=parse_duration, default=60.0, dest="seconds", help="how long to drain, such as 60s"
    )
    parser.add_argument("--folder", type=Path, default=BUILD, help="where the spool is built")
    options = parser.parse_args()
    if options.seconds < LEAST_SECONDS:
        parser.error(f"--for: expected at least {LEAST_SECONDS:g} s, found {options.seconds:g} s")
    try:
        outcome = measure(options.gigabytes, options.seconds, options.folder, Console(stderr=True).print)
    except (Missing, Failed) as problem:
        sys.exit(f"backlog: {problem}")
    table.add({"workload": "backlog", "sitting": time.strftime("%Y-%m-%dT%H:%M:%S"), **asdict(outcome)})
    print(markdown(outcome))


if __name__ == "__main__":
    main()
