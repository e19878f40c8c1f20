"""What the status pages show of a running agent, gathered from its parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields

from agent import SPOOL_FORMAT, __version__
from agent.service.watchdog import Watchdog
from agent.spool import Ledger
from agent.status.view import Agent, Collector, Sink, Spool, View
from agent.supervisor import Running


def view(running: Running, started: float, watchdog: Watchdog) -> View:
    """Everything there is to see; `started` in epoch seconds."""
    return View(
        agent=lambda: _agent(running, started),
        spool=lambda: _spool(running),
        sinks=lambda: sinks(running),
        collectors=lambda: _collectors(running),
        withheld=lambda: watchdog.withheld,
        health=running.health,
        stats=running.stats,
        dataflow=dict if running.dataflow is None else running.dataflow.shown,
    )


def queued(running: Running) -> int:
    """How many deliveries of a record are still to come, over all sinks."""
    return sum(delivery.queued() for delivery in running.deliveries.values())


def sinks(running: Running) -> Mapping[str, Sink]:
    """Every delivery, with its books."""
    numbers = _by_label(running, "sink")
    shown: dict[str, Sink] = {}
    for name, delivery in running.deliveries.items():
        cursors = running.spool.cursors(name)
        mine = numbers.get(name, {})
        ledger = {field.name: sum(getattr(cursor.ledger, field.name) for cursor in cursors) for field in fields(Ledger)}
        shown[name] = Sink(
            type=running.config.sinks[name].kind,
            lanes=[cursor.lane.name for cursor in cursors],
            queued=delivery.queued(),
            queued_bytes=int(mine.get("agent_sink_queued_bytes", 0)),
            lag=mine.get("agent_sink_lag_seconds", 0.0),
            in_flight=delivery.in_flight,
            batches={
                "requests": int(mine.get("agent_sink_requests_total", 0)),
                "retries": int(mine.get("agent_sink_retries_total", 0)),
            },
            ledger=ledger,
        )
    return shown


def _agent(running: Running, started: float) -> Agent:
    config = running.config
    return Agent(
        version=__version__,
        config_hash=config.config_hash,
        spool_format=SPOOL_FORMAT,
        hostname=config.agent.hostname,
        started=started,
        durability=config.spool.durability,
    )


def _spool(running: Running) -> Spool:
    spool = running.spool
    return Spool(
        directory=str(spool.settings.directory),
        bytes=spool.bytes,
        max_bytes=spool.settings.max_bytes,
        pending_bytes=spool.pending_bytes,
        closed_reason=spool.closed_reason,
        lanes={
            name: {"first": lane.first, "head": lane.head, "bytes": lane.bytes, "segments": len(lane.segments)}
            for name, lane in spool.lanes.items()
        },
    )


def _collectors(running: Running) -> Mapping[str, Collector]:
    numbers = _by_label(running, "collector")
    return {name: _collector(table.kind, numbers.get(name, {})) for name, table in running.config.collectors.items()}


def _collector(kind: str, numbers: Mapping[str, float]) -> Collector:
    """A collector's books: received = committed + redelivered + refused, once nothing is on its way."""
    redelivered = int(numbers.get("agent_mqtt_redelivered_total", 0))
    return Collector(
        type=kind,
        received=int(numbers.get("agent_intake_received_total", 0)) + redelivered,
        committed=int(numbers.get("agent_intake_committed_total", 0)),
        redelivered=redelivered,
        refused=int(numbers.get("agent_intake_refused_total", 0)),
        records=int(numbers.get("agent_intake_records_total", 0)),
    )


def _by_label(running: Running, label: str) -> dict[str, dict[str, float]]:
    """Every number that carries this label: value of the label -> name -> sum over the other labels."""
    found: dict[str, dict[str, float]] = {}
    for sample in running.stats.samples():
        if label in sample.labels:
            mine = found.setdefault(sample.labels[label], {})
            mine[sample.name] = mine.get(sample.name, 0.0) + sample.value
    return found
