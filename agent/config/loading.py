"""
agent.toml as the program sees it: `load` reads the files, checks everything and gives a `Config`.

It touches no network and starts nothing. What is wrong is raised as one ConfigError that lists all of it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from agent.config import dataflow, document, events
from agent.config.document import Document
from agent.config.messages import did_you_mean, found
from agent.config.places import Place
from agent.config.plugins import KINDS, Role
from agent.config.reading import Reading
from agent.config.settings import Agent, Log, Spool, Status
from agent.dataflow.rule import Rule as FlowRule
from agent.errors import ConfigError, Problem
from agent.events.rule import BOOKS, SOURCE, Rule
from agent.options import DeliveryOptions, Selection
from agent.ports import Collector, Sink
from agent.schema import option, options_of, plain
from agent.units import format_duration

if TYPE_CHECKING:
    from agent.ncloud.account import Account

T = TypeVar("T")

DEFAULT_PATH = Path("/etc/telemetry-agent/agent.toml")
NAME = re.compile(r"[a-z0-9_-]+")
TOP = ("agent", "spool", "log", "status", "collectors", "sinks", "events", "ncloud", "dataflow")
# Dead letters name the sink that refused a record; "intake" there means that no sink ever saw it.
RESERVED = {"sinks": {"intake"}, "collectors": {BOOKS}}


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectorOptions:
    """What every collector's table takes beside the plugin's own options."""

    tags: dict[str, str] = option(
        "Tags of every record of this collector; they win over those of [agent].",
        factory=dict,
        example={"line": "press"},
    )


@dataclass(frozen=True, slots=True)
class CollectorTable:
    """One [collectors.NAME]."""

    kind: str
    plugin: Collector
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class SinkTable:
    """One [sinks.NAME]."""

    kind: str
    plugin: Sink
    delivery: DeliveryOptions
    selection: Selection


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The whole configuration, every default and variable resolved."""

    agent: Agent  # its hostname is never empty
    spool: Spool
    log: Log
    status: Status
    collectors: Mapping[str, CollectorTable]
    sinks: Mapping[str, SinkTable]
    events: tuple[Rule, ...] = ()
    ncloud: Account | None = None
    dataflow: tuple[FlowRule, ...] = ()
    files: tuple[Path, ...] = field(default=(), compare=False)
    warnings: tuple[Problem, ...] = field(default=(), compare=False)

    @property
    def led(self) -> tuple[FlowRule, ...]:
        """The `[[dataflow]]` rules that run here: none unless this agent is the leader."""
        return self.dataflow if self.agent.role == "leader" else ()

    @property
    def config_hash(self) -> str:
        """The same for configurations that mean the same but for their secrets; `==` looks at those too."""
        text = json.dumps(resolved(self), sort_keys=True, ensure_ascii=False, default=str)
        return hashlib.sha256(text.encode()).hexdigest()


def load(paths: Sequence[Path] = (DEFAULT_PATH,), environ: Mapping[str, str] | None = None) -> Config:
    """
    Read files, and directories of `*.toml` in lexical order, as one configuration.

    Raises ConfigError with every mistake. What is only doubtful stands in `warnings`.
    """
    environ = os.environ if environ is None else environ
    read = document.load(paths, environ)
    reading = Reading(read, environ, problems=list(read.problems))
    if not read.is_whole:
        if list(paths) == [DEFAULT_PATH] and not os.path.exists(DEFAULT_PATH):
            how = 'write one with "telemetry-agent init -o PATH", or give --config'
            raise ConfigError([replace(each, text=f"{each.text}; {how}") for each in reading.problems])
        raise ConfigError(reading.problems)
    for key in read.tree:
        if key not in TOP:
            reading.bad((key,), f"no such table{did_you_mean(key, TOP)}")
    agent = _own(Agent, "agent", reading)
    spool, log = _own(Spool, "spool", reading), _own(Log, "log", reading)
    status = _own(Status, "status", reading)
    collectors = {
        name: CollectorTable(kind, plugin, common.tags)
        for name, kind, (plugin, common) in _members("collectors", (CollectorOptions,), reading)
    }
    sinks = {
        name: SinkTable(kind, plugin, delivery, _selected(name, plugin, selection, reading))
        for name, kind, (plugin, delivery, selection) in _members("sinks", (DeliveryOptions, Selection), reading)
    }
    _check_delivery(sinks, spool, reading)
    _check_shared(sinks, reading)
    _check_collectors(sinks, collectors, reading)
    rules = events.read_rules(reading)
    _check_selections(sinks, collectors, rules, agent, reading)
    account, flow_rules = dataflow.read_account(reading), dataflow.read_rules(reading)
    kinds = {name: sink.kind for name, sink in sinks.items()}
    dataflow.check_rules(flow_rules, agent, account, kinds, reading)
    if agent is not None:
        agent = replace(agent, hostname=_hostname(agent, reading))
    if reading.problems or agent is None or spool is None or log is None or status is None:
        raise ConfigError(_in_order(reading.problems, read))
    return Config(
        agent=agent,
        spool=spool,
        log=log,
        status=status,
        collectors=collectors,
        sinks=sinks,
        events=tuple(rules.values()),
        ncloud=account,
        dataflow=tuple(flow_rules.values()),
        files=tuple(file.path for file in read.files),
        warnings=tuple(reading.warnings),
    )


def resolved(config: Config) -> dict[str, Any]:
    """The configuration as one tree of TOML values, defaults included, secrets as `***`."""
    return {
        "agent": plain(config.agent),
        "spool": plain(config.spool),
        "log": plain(config.log),
        "status": plain(config.status),
        "collectors": {
            name: {"type": table.kind, "tags": dict(table.tags), **plain(table.plugin)}
            for name, table in config.collectors.items()
        },
        "sinks": {
            name: {"type": table.kind, **plain(table.selection), **plain(table.delivery), **plain(table.plugin)}
            for name, table in config.sinks.items()
        },
        **({"events": [plain(rule) for rule in config.events]} if config.events else {}),
        **({"ncloud": plain(config.ncloud)} if config.ncloud is not None else {}),
        **({"dataflow": [plain(rule) for rule in config.dataflow]} if config.dataflow else {}),
    }


def _own(cls: type[T], key: str, reading: Reading) -> T | None:
    return reading.table(cls, reading.document.tree.get(key, {}), (key,))


def _members(role: Role, common: tuple[type, ...], reading: Reading) -> list[tuple[str, str, list[Any]]]:
    """The tables of one role: name, kind, and the plugin followed by what is common to the role."""
    listed = reading.document.tree.get(role, {})
    members: list[tuple[str, str, list[Any]]] = []
    if not isinstance(listed, dict):
        reading.bad((role,), f"expected tables such as [{role}.NAME], found {found(listed)}")
    elif not listed:
        doing = "nothing would be collected" if role == "collectors" else "nothing would be sent anywhere"
        reading.bad((role,), f"required, but missing: without a [{role}.NAME] {doing}")
    else:
        for name, table in listed.items():
            member = _member(role, name, table, common, reading)
            if member is not None:
                members.append((name, *member))
    return members


def _member(
    role: Role, name: str, table: Any, common: tuple[type, ...], reading: Reading
) -> tuple[str, list[Any]] | None:
    place: Place = (role, name)
    if not NAME.fullmatch(name):
        reading.bad(place, f"expected a name made of a-z, 0-9, _ and -, found {found(name)}")
    elif name in RESERVED[role]:
        reading.bad(place, "this name is the agent's own: choose another")
    if not isinstance(table, dict):
        reading.bad(place, f"expected a table [{role}.{name}], found {found(table)}")
        return None
    plugin = _plugin(role, name, table, reading)
    if plugin is None:
        # Without the plugin only the common options can be told from mistakes.
        for cls in common:
            reading.table(cls, table, place, besides=table.keys())
        return None
    parts = reading.tables((plugin, *common), table, place, besides=("type",))
    return None if any(part is None for part in parts) else (table["type"], parts)


def _plugin(role: Role, name: str, table: dict[str, Any], reading: Reading) -> type | None:
    """The class that `type` names."""
    kinds, place = KINDS[role], (role, name, "type")
    kind = table.get("type")
    if kind is None:
        hint = f'; did you mean type = "{name}"?' if name in kinds.own else ""
        reading.bad(place, f"required, but missing: expected one of {', '.join(kinds.names())}{hint}")
        return None
    if not isinstance(kind, str):
        if not isinstance(kind, document.Unreadable):
            reading.bad(place, f"expected one of {', '.join(kinds.names())}, found {found(kind)}")
        return None
    try:
        plugin = kinds.find(kind)
    except Exception as error:  # noqa: BLE001 whatever a foreign package raises, it is said where it was asked for
        reading.bad(place, f"the plugin {kind} cannot be loaded: {type(error).__name__}: {error}")
        return None
    if plugin is None:
        near = did_you_mean(kind, kinds.names())
        reading.bad(place, f"expected one of {', '.join(kinds.names())}, found {found(kind)}{near}")
    elif not is_dataclass(plugin):
        reading.bad(place, f"the plugin {kind} is no dataclass, so it has no options to read")
        return None
    return plugin


def _selected(name: str, plugin: Sink, selection: Selection, reading: Reading) -> Selection:
    """The selection; where the table has no `select`, with what the plugin is made for."""
    if "select" in reading.document.tree["sinks"][name]:
        return selection
    return replace(selection, select=tuple(getattr(plugin, "selects", selection.select)))


def _check_delivery(sinks: Mapping[str, SinkTable], spool: Spool | None, reading: Reading) -> None:
    """What only the sinks together, or a sink and its plugin, can have wrong."""
    claimed: dict[str, str] = {}
    present = reading.document.tree.get("sinks", {})
    for name, table in sinks.items():
        was = table.delivery.was
        if reading.is_faulty(("sinks", name)):
            pass  # what it can do is not known
        elif table.plugin.limits.records == 1 and (table.delivery.batch_records or 1) > 1:
            reading.bad(("sinks", name, "batch_records"), "this sink, as it is configured, sends one record at a time")
        elif spool is not None:
            limits, own = table.plugin.limits, table.delivery.max_age is not None
            if table.delivery.longest_wait(limits, spool.max_age) < 2 * limits.window:
                reading.bad(
                    ("sinks", name, "max_age") if own else ("spool", "max_age"),
                    f"expected at least {format_duration(2 * limits.window)}, as sinks.{name} sends together what was "
                    f"taken in within {format_duration(limits.window)}",
                )
        warnings = getattr(table.plugin, "selection_warnings", None)
        for key, text in warnings(table.selection.select) if warnings is not None else ():
            reading.doubtful(("sinks", name, key), text)
        if was is None:
            continue
        if was in present:
            reading.bad(("sinks", name, "was"), f"{was} is a sink of this configuration, and so no former name")
        elif was in claimed:
            reading.bad(("sinks", name, "was"), f"{was} is already claimed by sinks.{claimed[was]}")
        claimed.setdefault(was, name)


def _check_shared(sinks: Mapping[str, SinkTable], reading: Reading) -> None:
    """Two sinks that write to the same file would spoil it for each other."""
    taken: dict[tuple[str, str, str], str] = {}
    for name, table in sinks.items():
        for each, _ in options_of(type(table.plugin)):
            place: Place = ("sinks", name, each.name)
            if each.metadata.get("not_shared") and not reading.is_faulty(place):
                value = os.path.realpath(getattr(table.plugin, each.name))
                first = taken.setdefault((table.kind, each.name, value), name)
                if first != name:
                    reading.bad(place, f"{value} is that of sinks.{first} already: each sink needs its own")


def _check_collectors(
    sinks: Mapping[str, SinkTable], collectors: Mapping[str, CollectorTable], reading: Reading
) -> None:
    """What a sink misses in what the collectors of this configuration will give it."""
    given = {name: (table.kind, table.plugin) for name, table in collectors.items()}
    for name, sink in sinks.items():
        warnings = getattr(sink.plugin, "collector_warnings", None)
        for key, text in warnings(given) if warnings is not None else ():
            reading.doubtful(("sinks", name, key), text)


def _check_selections(
    sinks: Mapping[str, SinkTable],
    collectors: Mapping[str, CollectorTable],
    rules: events.Rules,
    agent: Agent | None,
    reading: Reading,
) -> None:
    """Say which globs can fit nothing, as far as the sources of the agent's own collectors tell."""
    events.check_hearers(rules, agent, {name: sink.selection for name, sink in sinks.items()}, reading)
    own = KINDS["collectors"].own
    # Sources are "host.cpu", "self.spool", and for MQTT the name of the collector: "mqtt.plant".
    sources = {f"mqtt.{name}" if table.kind == "mqtt" else f"{table.kind}." for name, table in collectors.items()}
    if not sources or any(table.kind not in own for table in collectors.values()):
        return
    events.check_sources(rules, sources, reading)
    own_events = events.sources_of_events(rules, agent)
    sources |= own_events
    for name, sink in sinks.items():
        written = reading.document.tree["sinks"][name]
        for key in ("select", "exclude"):
            own_choice = key not in written  # the plugin's, out of its other options
            for glob in getattr(sink.selection, key):
                literal = re.split(r"[*?[]", glob, maxsplit=1)[0]
                if literal.startswith(SOURCE) and not own_events:
                    continue  # of these it was said what is needed, or they are only kept out
                if not any(literal.startswith(source) or source.startswith(literal) for source in sources):
                    begin = ", ".join(f'"{source}"' for source in sorted(sources))
                    reading.doubtful(
                        ("sinks", name) if own_choice else ("sinks", name, key),
                        f'"{glob}"{", which it is to get," if own_choice else ""} fits no collector of this '
                        f"configuration: their sources begin with {begin}",
                    )


def _hostname(agent: Agent, reading: Reading) -> str:
    """The host's name from where [agent] says; "" after a mistake was listed."""
    source, _, name = agent.hostname_source.partition(":")
    place: Place = ("agent", "hostname_source")
    hostname = agent.hostname
    if hostname:
        place = ("agent", "hostname")
    elif source == "env":
        hostname = reading.environ.get(name, "").strip()
        if not hostname:
            reading.bad(place, f"the variable {name} is not set or empty")
    elif source == "file":
        try:
            with open(reading.document.folder(place) / name, encoding="utf-8") as file:
                hostname = file.readline().strip()
            if not hostname:
                reading.bad(place, f"{name} has an empty first line")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            reading.bad(place, f"{name} cannot be read: {reason}")
    else:
        hostname = socket.gethostname()
    if re.fullmatch(r"[0-9a-f]{12}|[0-9a-f]{64}", hostname):
        reading.doubtful(
            place,
            f"the host name {hostname} looks like the id of a container, and a new container is a new host: "
            'set hostname, or hostname_source = "env:NODE_NAME"',
        )
    elif hostname in ("localhost", "localhost.localdomain"):
        reading.doubtful(place, f"the host name {hostname} tells no host from another: set hostname")
    return hostname


def _in_order(problems: list[Problem], read: Document) -> list[Problem]:
    """By file and line, as a person goes through them."""
    files = {str(file.path): n for n, file in enumerate(read.files)}

    def key(problem: Problem) -> tuple[int, int]:
        match = re.match(r"(.*?):(\d+)(?: |$)", problem.where)
        return (files.get(match[1], 0), int(match[2])) if match else (-1, 0)

    return sorted(problems, key=key)
