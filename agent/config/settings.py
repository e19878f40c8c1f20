"""
The tables of agent.toml that belong to the agent itself, and not to a plugin.

Each is a dataclass of options, as plugins are, so that messages, example and documentation come from here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from agent.options import is_loopback
from agent.schema import Duration, Size, option

MiB = 1 << 20
DAY = 86400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """Who this agent is."""

    hostname: str = option(
        "The name of this host, as records carry it in the tag `host`.",
        "",
        default_text="found by hostname_source",
        example="edge-17",
    )
    hostname_source: str = option(
        'Where the name comes from: "os", "env:NAME" (a variable) or "file:PATH" (the first line of a file).', "os"
    )
    tags: dict[str, str] = option(
        "Tags of every record. A collector's, a topic's and a payload's own tags win over them.",
        factory=dict,
        example={"site": "seoul-1"},
    )
    stop_grace: Duration = option(
        "How long a stopping agent goes on sending what is stored. The rest waits on disk.", 10.0, high=3600.0
    )
    role: Literal["leader", "member"] = option(
        "Whether the rules of [[dataflow]] run here: of a fleet that stores into one bucket, one agent is the leader.",
        "member",
    )
    lifecycle_events: tuple[Literal["start", "stop", "outage"], ...] = option(
        "What the agent says of itself in records of the source `event.agent`: its starts, its stops (told after the "
        "next start), the outages of its sinks.",
        (),
        example=["start", "stop", "outage"],
    )
    lifecycle_jitter: Duration = option(
        "Each of them waits for a random moment within so long, so that a thousand agents which restart together do "
        "not speak together; what is over by then is told in one event.",
        300.0,
        high=86400.0,
    )

    def tags_with_host(self) -> Mapping[str, str]:
        """The tags of every record, the host's name among them."""
        return {"host": self.hostname, **self.tags}

    def problems(self) -> list[tuple[str, str]]:
        """The source has to be one of three forms."""
        source, _, name = self.hostname_source.partition(":")
        if self.hostname_source == "os" or (source in ("env", "file") and name):
            return []
        return [("hostname_source", f'expected "os", "env:NAME" or "file:PATH", found "{self.hostname_source}"')]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spool:
    """The durable queue on disk between collectors and sinks."""

    directory: Path = option(
        "Where it lives; the agent's user must be able to write there.", Path("/var/lib/telemetry-agent")
    )
    durability: Literal["strict", "interval", "none"] = option(
        "When a record counts as stored: `strict` once it is on the disk (survives a power cut), `interval` once it is "
        "written (survives kill -9; a power cut loses at most the interval), `none` the same with no sync at all.",
        "strict",
    )
    interval: Duration = option("How often `interval` syncs.", 1.0, low=0.01, high=3600.0)
    max_bytes: Size | None = option(
        "Most bytes of records waiting on disk, over all sinks.",
        None,
        default_text="the smaller of 1GiB and 10 % of the filesystem",
        example="1GiB",
        low=MiB,
    )
    min_free_bytes: Size | None = option(
        "What the agent leaves free on the filesystem.",
        None,
        default_text="the smaller of 512MiB and 5 % of the filesystem",
        example="512MiB",
    )
    max_age: Duration = option("Records that wait longer are dropped and counted as expired.", 7 * DAY, low=1.0)
    max_record: Size = option(
        "The largest record; what is larger becomes a dead letter.", 256 * 1024, low=1024, high=MiB
    )
    retire_after: Duration = option(
        "How long the spool keeps what waits for a sink that is no longer in the configuration.", DAY
    )
    dead_max_bytes: Size = option("Most bytes of dead letters; the oldest go first.", 64 * MiB, low=64 * 1024)
    dead_max_age: Duration = option("How long dead letters are kept.", 30 * DAY, low=1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """What the agent says on standard error."""

    level: Literal["debug", "info", "warning", "error"] = option("The least important lines to write.", "info")
    format: Literal["auto", "text", "json"] = option(
        "`text` for people, `json` for programs; `auto` is text on a terminal and JSON under systemd.", "auto"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The HTTP pages about the agent: /health/*, /metrics, /status.json and a page for people."""

    enabled: bool = option("Whether they are served.", True)
    listen: str = option("Address and port. Anybody who can reach them can read them.", "127.0.0.1:9465")
    allow_remote: bool = option("Whether `listen` may be an address that other machines reach.", False)
    host_names: tuple[str, ...] = option(
        "Names under which other machines ask for the pages (the Host header), besides this machine's own loopback.",
        (),
        example=["edge-17.example.net"],
    )

    @property
    def address(self) -> tuple[str, int]:
        """Where to listen: host and port."""
        host, _, port = self.listen.rpartition(":")
        return host.strip("[]"), int(port)

    def problems(self) -> list[tuple[str, str]]:
        """An address with a port, and loopback unless remote readers are allowed by name."""
        match = re.fullmatch(r"(\[[0-9A-Fa-f:.%a-z]+\]|[^:\[\]]+):(\d{1,5})", self.listen)
        if match is None or int(match[2]) > 65535:
            return [("listen", f'expected an address and port such as "127.0.0.1:9465", found "{self.listen}"')]
        if self.enabled and not self.allow_remote and not is_loopback(match[1]):
            return [
                ("listen", f"{match[1]} can be reached from other machines: if that is meant, add allow_remote = true")
            ]
        return []
