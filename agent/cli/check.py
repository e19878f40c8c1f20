"""`check`: reads the configuration as `run` does and says what it means, or everything that is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from agent import config as configuration
from agent.cli import state as states
from agent.cli import toml
from agent.config import Config
from agent.options import EVERYTHING, Selection
from agent.schema import key_of, options_of, plain, written
from agent.status.view import PROMISES
from agent.units import format_duration

WIDTH = 100  # of one line about a plugin


def check(
    config: states.Config = None,
    show: Annotated[
        bool, typer.Option("--print", help="Print the whole configuration with every default, secrets as ***.")
    ] = False,
) -> None:
    """Check the configuration. Says what it means, or everything that is wrong with it (exit 78)."""
    loaded = configuration.load(config or [configuration.DEFAULT_PATH])
    lines = toml.tables(configuration.resolved(loaded)) if show else map(states.printable, summary(loaded))
    print("\n".join(lines).rstrip())


def summary(config: Config) -> Iterator[str]:
    """What the configuration makes the agent do, in a few lines."""
    yield f"{', '.join(map(str, config.files))}: no mistakes"
    yield ""
    yield f"host      {config.agent.hostname}"
    for n, (name, collector) in enumerate(config.collectors.items()):
        yield f"{'' if n else 'reads':9} {name} ({collector.kind}){_settings(collector.plugin)}"
    for n, (name, sink) in enumerate(config.sinks.items()):
        wants = _selection(sink.selection)
        yield f"{'' if n else 'sends':9} {wants} to {name} ({sink.kind}){_settings(sink.plugin)}"
        # What it will cost at the far side, where the plugin can tell.
        if (outlook := getattr(sink.plugin, "outlook", None)) is not None:
            yield from (f"{'':11} {line}" for line in outlook(config.agent.tags_with_host()))
    yield from _events(config)
    yield from _dataflow(config)
    yield f"{'spool':9} {config.spool.directory}, at most {_limit(config, 'max_bytes')}"
    if config.status.enabled:
        yield f"{'status':9} http://{config.status.listen}/"
    durability = config.spool.durability
    yield f"{'promise':9} durability = {toml.value(durability)}: {PROMISES[durability]}"
    for weaker in list(PROMISES)[list(PROMISES).index(durability) + 1 :]:
        yield f"{'':9} ({weaker} would give: {PROMISES[weaker]})"
    for name, sink in config.sinks.items():
        if sink.delivery.on_full == "block":
            yield f'{"":9} {name} may stop intake for all sinks when the spool is full (on_full = "block")'
    if config.warnings:
        yield ""
        yield from (f"warning: {warning}" for warning in config.warnings)


def _settings(plugin: Any) -> str:
    """What a plugin's table says beyond the defaults, on one line."""
    given = []
    values = plain(plugin)
    for each, hint in options_of(type(plugin)):
        default = each.default_factory() if callable(each.default_factory) else each.default
        name = key_of(each)
        if name in values and values[name] != written(default, hint):
            item = values[name]
            tables = isinstance(item, list) and item and all(isinstance(part, dict) for part in item)
            several = "" if tables and (len(item) == 1 or name.endswith("s")) else "s"
            given.append(f"{len(item)} {name}{several}" if tables else f"{name} = {toml.value(item)}")
    text = ", ".join(given)
    text = text if len(text) <= WIDTH else text[: WIDTH - 3] + "..."
    return f": {text}" if text else ""


def _events(config: Config) -> Iterator[str]:
    """Which events there will be, and when."""
    lines = []
    for rule in config.events:
        lasting = f" for {format_duration(rule.lasting)}" if rule.lasting else ""
        where = "".join(f", {tag} is {' or '.join(globs)}" for tag, globs in rule.where.items())
        lines.append(f"event.{rule.name} when {rule.condition}{lasting}{where}; over when {rule.clearing}")
    if config.agent.lifecycle_events:
        within = format_duration(config.agent.lifecycle_jitter)
        lines.append(f"event.agent for {', '.join(config.agent.lifecycle_events)}, each within {within}")
    for n, line in enumerate(lines):
        yield f"{'' if n else 'says':9} {line}"


def _dataflow(config: Config) -> Iterator[str]:
    """Which jobs it runs, and when."""
    for n, rule in enumerate(config.dataflow):
        if rule.after_objects is not None:
            when = f"after {rule.after_objects} objects in {rule.sink}"
        else:
            when = f"every {format_duration(rule.every)}" if rule.every is not None else f"at {rule.at}"
            when += f", over the objects in {rule.sink}"
        never = "" if config.agent.role == "leader" else "; not here: this agent is a member"
        yield f"{'' if n else 'runs':9} {rule.kind} {rule.id} {when}, at most {rule.max_runs_per_day} a day{never}"


def _selection(selection: Selection) -> str:
    if selection.lane == EVERYTHING:
        return "everything"
    text = ", ".join(selection.select)
    if selection.exclude:
        text += f" without {', '.join(selection.exclude)}"
    if selection.where:
        text += " where " + " and ".join(f"{tag} is {' or '.join(globs)}" for tag, globs in selection.where.items())
    return text


def _limit(config: Config, name: str) -> str:
    for each, hint in options_of(type(config.spool)):
        if each.name == name:
            value = getattr(config.spool, name)
            return str(written(value, hint) if value is not None else each.metadata["default_text"])
    raise KeyError(name)
