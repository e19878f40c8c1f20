"""
What the status pages show, and where they get it: one `View`, filled by the supervisor.

The functions are called for each request, on the event loop, and give what is so at that moment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, TypedDict

from agent.dataflow.shown import Shown
from agent.stats import Health, Part, Sample, Stats

PROMISES: Final[Mapping[str, str]] = {
    "strict": "what is acknowledged is on the disk: it survives kill -9 and a power cut",
    "interval": "what is acknowledged survives kill -9; a power cut loses at most the interval",
    "none": "what is acknowledged survives kill -9; a power cut may lose whatever the system had not written yet",
}


class Agent(TypedDict):
    """What stays the same while it runs (until a reload)."""

    version: str
    config_hash: str
    spool_format: int
    hostname: str
    started: float  # epoch seconds
    durability: str  # a key of PROMISES


class Lane(TypedDict):
    """One log within the spool. Indices count records since the lane was made."""

    first: int  # the oldest still on disk
    head: int  # after the last durable one
    bytes: int
    segments: int


class Spool(TypedDict):
    """The spool as a whole."""

    directory: str
    bytes: int
    max_bytes: int
    pending_bytes: int  # taken over, not yet durable
    closed_reason: str | None  # why nothing can be taken in now; None: it can
    lanes: Mapping[str, Lane]


class Sink(TypedDict, total=False):
    """One delivery, beside its state."""

    type: str
    lanes: list[str]
    queued: int  # records
    queued_bytes: int
    lag: float  # seconds: the age of the oldest record still queued, 0 when none is
    in_flight: int  # batches
    batches: Mapping[str, int]  # e.g. sent, retried, split
    ledger: Mapping[str, int]  # records by fate


class Collector(TypedDict, total=False):
    """One collector, beside its state."""

    type: str
    received: int  # payloads: committed + redelivered + refused, and what is on its way
    committed: int
    redelivered: int  # recognised, and not stored twice
    refused: int
    records: int  # what the committed payloads held: an array holds many, or none


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Everything there is to see of a running agent."""

    agent: Callable[[], Agent]
    spool: Callable[[], Spool]
    sinks: Callable[[], Mapping[str, Sink]]
    collectors: Callable[[], Mapping[str, Collector]]
    withheld: Callable[[], str]  # the parts that hang, as the watchdog sees it; empty: none
    health: Health
    stats: Stats
    dataflow: Callable[[], Mapping[str, Shown]] = dict  # rules by their names


def live(view: View) -> dict[str, Any]:
    """Whether everything turns: what a supervisor may restart it for. No far side has a part in this."""
    withheld = view.withheld()
    return {"ok": not withheld, "hanging": withheld}


def ready(view: View) -> dict[str, Any]:
    """Whether records are taken in, made durable, and acknowledged."""
    reason = view.spool()["closed_reason"]
    return {"ok": reason is None, "reason": reason or ""}


def delivery(view: View) -> dict[str, Any]:
    """Whether every far side takes what it is sent."""
    sinks = {
        name: {**_state(view, "sink", name), "queued": sink.get("queued", 0), "lag": sink.get("lag", 0.0)}
        for name, sink in view.sinks().items()
    }
    return {"ok": not any(sink["state"] in ("down", "refusing") for sink in sinks.values()), "sinks": sinks}


def everything(view: View, now: float) -> dict[str, Any]:
    """All of it, for programs and for the page."""
    agent = view.agent()
    spool = view.spool()
    return {
        "agent": {
            **agent,
            "now": now,
            "uptime": now - agent["started"],
            "promise": PROMISES.get(agent["durability"], ""),
        },
        "health": {"live": live(view), "ready": ready(view), "delivery": {"ok": delivery(view)["ok"]}},
        "spool": {
            **spool,
            "segments": sum(lane["segments"] for lane in spool["lanes"].values()),
        },
        "sinks": {name: {**_state(view, "sink", name), **sink} for name, sink in view.sinks().items()},
        "collectors": {
            name: {**_state(view, "collector", name), **collector} for name, collector in view.collectors().items()
        },
        "dataflow": dict(view.dataflow()),
        "parts": [_part(part) for part in view.health.parts.values()],
    }


def samples(view: View) -> Iterator[Sample]:
    """Every number, the agent's own description first."""
    agent = view.agent()
    labels = {name: str(agent[name]) for name in ("version", "config_hash", "spool_format")}
    yield Sample("agent_info", labels, 1, "gauge", "What this agent is.")
    for part in view.health.parts.values():
        yield Sample(
            "agent_part_up",
            {"kind": part.kind, "name": part.name},
            int(part.state == "up"),
            "gauge",
            "Whether a part works: 1 when it is up.",
        )
    yield from view.stats.samples()


def _part(part: Part) -> dict[str, Any]:
    shown = asdict(part)
    del shown["due"]  # on a clock of its own, and infinite where nothing is promised
    return shown


def _state(view: View, kind: str, name: str) -> dict[str, Any]:
    part = view.health.parts.get((kind, name))
    if part is None:
        return {"state": "stopped", "reason": "", "since": None}
    return {"state": part.state, "reason": part.reason, "since": part.since}
