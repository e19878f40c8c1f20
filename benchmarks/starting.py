"""
How soon a started agent has stored its first record, and what one with little to do takes.

    python -m benchmarks.starting [--minutes 10]

Each start has a new state directory. A record counts as stored when `/metrics` counts the commit that made it durable;
it is asked every 20 ms, which is the error of these figures.
Idle is the whole process: every default group of host metrics each 10 s, a session at a broker that says nothing.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from benchmarks import programs, table
from benchmarks.broker import mosquitto
from benchmarks.load import Load, prefix, publish
from benchmarks.measure import cpu, metric, rss
from benchmarks.programs import Failed, Missing, free_port, module, running, wait_until
from benchmarks.receiver import receiver

STARTS = 7
SETTLE = 15.0  # seconds until a started agent has come to rest
MIB = 1 << 20
START_TARGET, IDLE_TARGET = 0.7, 0.1  # seconds; per cent of a core

# Runs while agents start: whichever subscribes gets a message within 10 ms.
MESSAGES = Load(count=300, rate=100, qos=1)

AGENT = """\
[spool]
directory = "{state}"

[status]
listen = "127.0.0.1:{status_port}"

[sinks.lake]
type = "obsrv"
url = "http://127.0.0.1:{receiver_port}"
dataset = "lake"
"""
HOST = """
[collectors.machine]
type = "host"
"""
MQTT = """
[collectors.line]
type = "mqtt"
url = "mqtt://127.0.0.1:{broker_port}"
subscription = [{{ topic = "{prefix}/#", qos = 1 }}]
"""


def first_record(folder: Path, text: str, ports: dict[str, int]) -> tuple[float, float]:
    """Seconds from the start of the process to its first durable record, and its CPU by then."""
    status_port = free_port()
    config, log = folder / "agent.toml", folder / "agent.log"
    config.write_text(text.format(state=folder / "state", status_port=status_port, prefix=prefix("json"), **ports))
    begun = time.monotonic()
    with running(module("agent", "run", "--config", str(config)), log) as process:
        wait_until("the first record", lambda: _has_committed(status_port), process, log)
        return time.monotonic() - begun, cpu(process.pid)


def _has_committed(status_port: int) -> bool:
    try:
        return metric(status_port, "agent_spool_commits_total") > 0
    except (OSError, LookupError):  # it does not listen yet, or has no spool yet
        return False


def starts(say: Callable[[str], None]) -> dict[str, list[tuple[float, float]]]:
    """Starts with a host collector alone, and with an MQTT collector alone."""
    found: dict[str, list[tuple[float, float]]] = {"host metrics": [], "MQTT": []}
    with programs.folder("starting") as folder, mosquitto(folder) as broker, receiver(folder) as far:
        ports = {"broker_port": broker.port, "receiver_port": far.port}
        for number in range(STARTS):
            for name, collector in (("host metrics", HOST), ("MQTT", MQTT)):
                say(f"start {number + 1} of {STARTS}, {name}")
                place = folder / f"{name.split()[0]}-{number}"
                place.mkdir()
                with _messages(broker.port, place):
                    found[name].append(first_record(place, AGENT + collector, ports))
    return found


@contextmanager
def _messages(port: int, folder: Path) -> Iterator[None]:
    """Somebody publishes meanwhile."""
    thread = threading.Thread(target=publish, args=(MESSAGES, port, folder))
    thread.start()
    time.sleep(0.5)  # until the first has gone
    try:
        yield
    finally:
        thread.join()


def idle(minutes: float, say: Callable[[str], None]) -> tuple[float, int]:
    """Per cent of a core that an agent with little to do takes, and its memory then."""
    with programs.folder("idle") as folder, mosquitto(folder) as broker, receiver(folder) as far:
        config, log = folder / "agent.toml", folder / "agent.log"
        config.write_text(
            (AGENT + HOST + MQTT).format(
                state=folder / "state",
                status_port=free_port(),
                prefix=prefix("json"),
                broker_port=broker.port,
                receiver_port=far.port,
            )
        )
        with running(module("agent", "run", "--config", str(config)), log) as process:
            broker.wait_for_subscription(process, log)
            say(f"idle for {minutes:g} minutes")
            time.sleep(SETTLE)
            before, begun = cpu(process.pid), time.monotonic()
            time.sleep(minutes * 60)
            return 100 * (cpu(process.pid) - before) / (time.monotonic() - begun), rss(process.pid)


def markdown(row: table.Row) -> str:
    """A kept row as tables."""
    lines = [f"| start to first record stored, median of {STARTS} | s | CPU s |", "|---|---|---|"]
    for name, both in row["seconds_and_cpu"].items():
        seconds, cpus = zip(*both, strict=True)
        met = "" if statistics.median(seconds) <= START_TARGET else ", missed"
        lines.append(f"| {name} (≤ {START_TARGET:g}{met}) | {table.spread(seconds)} | {table.spread(cpus)} |")
    percent, memory = row["idle_percent"], row["idle_rss"]
    met = "" if percent <= IDLE_TARGET else ", missed"
    lines += ["", f"| idle for {row['idle_minutes']:g} minutes | |", "|---|---|"]
    lines += [f"| of a core (≤ {IDLE_TARGET:g} %{met}) | {percent:.3f} % |", f"| RSS | {memory / MIB:.1f} MiB |", ""]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.starting", description=__doc__.partition("\n\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="how long to look at an idle agent")
    options = parser.parse_args()
    say = Console(stderr=True).print
    try:
        taken = starts(say)
        percent, memory = idle(options.minutes, say)
    except (Missing, Failed) as problem:
        sys.exit(f"starting: {problem}")
    row: table.Row = {
        "workload": "starting",
        "sitting": time.strftime("%Y-%m-%dT%H:%M:%S"),
        "seconds_and_cpu": taken,
        "idle_minutes": options.minutes,
        "idle_percent": percent,
        "idle_rss": memory,
    }
    table.add(row)
    print(markdown(row))


if __name__ == "__main__":
    main()
